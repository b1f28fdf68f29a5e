//! The status of policies that are outdated on a node, select some nodes only, or select no pods.

use serde_json::json;
use xdp_e2e::installed::{ClusterPodSpec, Installation, condition};

use crate::fixture::{PLAYERS, Rule, deliver};

#[test]
fn while_an_agent_is_frozen_a_changed_policy_is_not_programmed_there_and_then_it_is() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let space = installed.space("held-back").unwrap();
    let pods = [
        ClusterPodSpec::new("ptp", "game", 1),
        ClusterPodSpec::new("bridge", "game", 2),
    ];
    let pods = space.pods(&pods).unwrap();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    space.until_programmed("game", 2).unwrap();

    let frozen = installed.freeze_agent(installed.node(2)).unwrap();
    space
        .policy("game", "game", &[&PLAYERS.replace("42", "43")])
        .unwrap();
    let policy = space
        .until_policy(
            "game",
            "one node has the change, the other one does not",
            |policy| {
                policy["status"]["nodes"] == json!({"selected": 2, "programmed": 1})
                    && condition(policy, "Programmed").unwrap()["observedGeneration"] == 2
            },
        )
        .unwrap();
    assert_eq!(policy["status"]["pods"], json!({"selected": 2, "programmed": 1}));
    let programmed = condition(&policy, "Programmed").unwrap();
    assert_eq!(
        [&programmed["status"], &programmed["reason"]],
        [&json!("False"), &json!("Outdated")]
    );
    let message = programmed["message"].as_str().unwrap();
    assert!(
        message.contains("node2") && !message.contains("node1"),
        "{message}"
    );
    // Packets are handled as the status says.
    assert_eq!(deliver(installed, &pods[0], 50).with_mark("UDP", 43), 50);
    assert_eq!(deliver(installed, &pods[1], 50).with_mark("UDP", 42), 50);

    drop(frozen);
    let policy = space.until_programmed("game", 2).unwrap();
    assert_eq!(condition(&policy, "Programmed").unwrap()["observedGeneration"], 2);
    assert_eq!(deliver(installed, &pods[1], 50).with_mark("UDP", 43), 50);
    let event = installed.until_event(&space.name, "game", "Programmed").unwrap();
    assert_eq!(
        (&event["type"], &event["regarding"]["kind"]),
        (&json!("Normal"), &json!("XdpPolicy"))
    );
}

#[test]
fn a_policy_applies_on_the_nodes_it_selects_and_its_status_counts_those() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("some-nodes").unwrap();
    let pods = [
        ClusterPodSpec::new("ptp", "game", 1),
        ClusterPodSpec::new("bridge", "game", 2),
    ];
    let pods = space.pods(&pods).unwrap();
    let spec = "podSelector: {}\nnodeSelector: {matchLabels: {e2e.local/cni: ptp}}";
    space.policy_with("game", spec, &[PLAYERS]).unwrap();
    let policy = space.until_programmed("game", 1).unwrap();
    let one = json!({"selected": 1, "programmed": 1});
    assert_eq!(
        [&policy["status"]["nodes"], &policy["status"]["pods"]],
        [&one, &one]
    );
    assert_eq!(deliver(installed, &pods[0], 20).with_mark("UDP", 42), 20);
    assert_eq!(deliver(installed, &pods[1], 20).with_mark("UDP", 0), 20);
    let rule = Rule {
        installed,
        space: &space,
        policy: "game",
        name: "players",
    };
    rule.expect(&pods[1], &[]);
}

#[test]
fn a_policy_without_pods_is_programmed_with_the_reason_no_pods() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("no-pods").unwrap();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    let policy = space.until_programmed("game", 0).unwrap();
    assert_eq!(condition(&policy, "Programmed").unwrap()["reason"], "NoPods");
    // It applies to a pod that is created later.
    space.pod(&ClusterPodSpec::new("late", "game", 2)).unwrap();
    let policy = space.until_programmed("game", 1).unwrap();
    assert_eq!(condition(&policy, "Programmed").unwrap()["reason"], "Programmed");
}
