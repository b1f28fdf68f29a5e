//! `helm upgrade`.

use serde_json::Value;
use xdp_e2e::installed::Installation;

use super::{Game, LogsOnFailure, all_replaced, instances, programs, traffic::LineStream, until_ready};

const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/xdppolicies.xdp-operator.io";

/// Starts with an older CRD and replaces all pods of agents and operator.
#[test]
fn an_upgrade_loses_no_packet_resets_no_nic_and_updates_the_definitions() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let _logs = LogsOnFailure(installed);
    let game = Game::new(installed, "upgrade");
    let newest = definition(installed);
    make_older(installed);
    let (agents, operators) = (instances(installed, "agent"), instances(installed, "operator"));
    let before = programs(installed);
    let (lines, pause) = game.with_traffic(|traffic| {
        let stream = LineStream::start(installed.client(), game.pods[0].http());
        installed
            .upgrade(&[
                "--set-string=agent.podAnnotations.version=2",
                "--set-string=operator.podAnnotations.version=2",
            ])
            .unwrap();
        until_ready(installed, "agent", |now| all_replaced(&agents, now));
        until_ready(installed, "operator", |now| all_replaced(&operators, now));
        // The new agents adopted the programs of the old ones.
        assert_eq!(programs(installed), before);
        assert_eq!(definition(installed), newest);
        // The new agents and operators work.
        let late = "{name: late, ports: [{protocol: TCP, port: 9}], action: Drop}";
        game.space.policy("late", "game", &[late]).unwrap();
        game.space.until_programmed("late", 2).unwrap();
        game.space.until_programmed("game", 2).unwrap();
        traffic.send_more(500);
        stream.end()
    });
    println!("{lines} lines of one HTTP answer, at most {pause:?} apart");
    assert!(lines > 0);
}

/// Returns the parts of the definition that users see.
fn definition(installed: &Installation) -> [Value; 2] {
    let mut definition = installed.api(CRD).unwrap();
    let version = &mut definition["spec"]["versions"][0];
    [
        version["additionalPrinterColumns"].take(),
        version["schema"].take(),
    ]
}

/// Removes a column and a field from the definition.
fn make_older(installed: &Installation) {
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
