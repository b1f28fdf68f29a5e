//! `helm upgrade`.

use serde_json::Value;
use xdp_e2e::installed::Installed;

use super::{Evidence, Game, all_new, lives, programs, traffic::Exchange, until_lives};

const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/xdppolicies.xdp-operator.io";

/// All pods of agents and operator are replaced, and the CRD was that of an older version.
#[test]
fn an_upgrade_costs_no_packet_resets_no_nic_and_brings_the_definitions_up_to_date() {
    let installed = Installed::shared();
    let _turn = installed.alone();
    let _evidence = Evidence(installed);
    let game = Game::new(installed, "upgrade");
    let newest = definition(installed);
    make_older(installed);
    let (agents, operators) = (lives(installed, "agent"), lives(installed, "operator"));
    let before = programs(installed);
    let (lines, pause) = game.play(|traffic| {
        let exchange = Exchange::begin(installed.client(), game.pods[0].http());
        installed
            .upgrade(&[
                "--set-string=agent.podAnnotations.version=2",
                "--set-string=operator.podAnnotations.version=2",
            ])
            .unwrap();
        until_lives(installed, "agent", |now| all_new(&agents, now));
        until_lives(installed, "operator", |now| all_new(&operators, now));
        // The same program: the new agents have adopted what the old ones left.
        assert_eq!(programs(installed), before);
        assert_eq!(definition(installed), newest);
        // The new ones are at work.
        let late = "{name: late, ports: [{protocol: TCP, port: 9}], action: Drop}";
        game.space.policy("late", "game", &[late]).unwrap();
        game.space.until_programmed("late", 2).unwrap();
        game.space.until_programmed("game", 2).unwrap();
        traffic.more(500);
        exchange.end()
    });
    println!("{lines} lines of one HTTP answer, at most {pause:?} apart");
    assert!(lines > 0);
}

/// What users see of it.
fn definition(installed: &Installed) -> [Value; 2] {
    let mut definition = installed.api(CRD).unwrap();
    let version = &mut definition["spec"]["versions"][0];
    [
        version["additionalPrinterColumns"].take(),
        version["schema"].take(),
    ]
}

/// The definition without a column and without a field.
fn make_older(installed: &Installed) {
    let newest = definition(installed);
    let version = "/spec/versions/0";
    let patch = format!(
        r#"[{{"op": "remove", "path": "{version}/additionalPrinterColumns/0"}},
            {{"op": "remove", "path": "{version}/schema/openAPIV3Schema/properties/spec/properties/nodeSelector"}}]"#
    );
    let crd = ["patch", "crd", "xdppolicies.xdp-operator.io"];
    installed
        .kubectl(&[&crd[..], &["--type=json", "--patch", &patch]].concat())
        .unwrap();
    assert_ne!(definition(installed)[0], newest[0]);
    assert_ne!(definition(installed)[1], newest[1]);
}
