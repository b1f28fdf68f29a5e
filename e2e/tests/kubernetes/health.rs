//! The health scripts for Argo CD, run by the Lua interpreter that Argo CD uses, on real objects.

use serde_json::{Value, json};
use xdp_crds::conditions::is_transient;
use xdp_e2e::installed::{ClusterPodSpec, Installation};
use xdp_kubernetes::checked;

use crate::fixture::PLAYERS;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/argocd/xdp-operator.io");

/// Returns status and message of an object's health.
fn health(installed: &Installation, object: &Value) -> (String, String) {
    let kind = object["kind"].as_str().unwrap();
    let script = format!("{SCRIPTS}/{kind}/health.lua");
    let finished = installed.run("checks", &["health", &script], Some(&object.to_string()));
    let found = checked("checks health", finished.unwrap()).unwrap();
    let found: Value = serde_json::from_str(&found).unwrap();
    let text = |name: &str| found[name].as_str().unwrap().to_owned();
    (text("status"), text("message"))
}

#[test]
fn the_health_of_a_policy_is_progressing_healthy_or_degraded_as_its_condition_ready() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let space = installed.space("health").unwrap();
    space.pod(&ClusterPodSpec::new("server", "game", 1)).unwrap();
    let frozen = installed.freeze_agent(installed.node(1)).unwrap();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    let waiting = space.until_not_programmed("game", "Outdated").unwrap();
    let (status, message) = health(installed, &waiting);
    assert_eq!(status, "Progressing", "{message}");
    assert!(message.starts_with("Outdated: 1 of 1 node: "), "{message}");
    drop(frozen);

    let ready = space.until_programmed("game", 1).unwrap();
    let (status, message) = health(installed, &ready);
    assert_eq!(
        (status.as_str(), message.as_str()),
        ("Healthy", "Programmed: programmed for 1 pod on 1 node")
    );
    for (part, value) in [("status", Value::Null), ("metadata", json!({"generation": 99}))] {
        let mut unreported = ready.clone();
        unreported[part] = value;
        assert_eq!(health(installed, &unreported).0, "Progressing", "{part}");
    }
    let node_state = installed.node_state(installed.node(1)).unwrap();
    assert_eq!(health(installed, &node_state).0, "Healthy");
    let mut silent = node_state;
    silent["status"] = Value::Null;
    assert_eq!(health(installed, &silent).0, "Progressing");

    let rules = crate::bad_objects::too_many_ports();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    space.policy("game", "game", &rules).unwrap();
    let refused = space.until_not_programmed("game", "LimitExceeded").unwrap();
    let (status, message) = health(installed, &refused);
    assert_eq!(status, "Degraded", "{message}");
    assert!(message.starts_with("LimitExceeded: "), "{message}");
    let node_state = installed.node_state(installed.node(1)).unwrap();
    let (status, message) = health(installed, &node_state);
    assert_eq!(status, "Degraded", "{message}");
}

/// Returns the reasons of a table of the API reference.
fn reasons(heading: &str) -> Vec<&'static str> {
    let page = include_str!("../../../docs/reference/api.md");
    let (_, section) = page.split_once(&format!("### {heading}\n")).unwrap();
    let (section, _) = section.split_once("\n#").unwrap_or((section, ""));
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let found: Vec<_> = rows.filter_map(|row| Some(row.split_once('`')?.0)).collect();
    assert!(found.len() > 3, "{found:?}");
    found
}

#[test]
fn a_policy_is_degraded_for_all_reasons_but_those_that_pass_by_themselves() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let reasons = [
        reasons("Reasons of Programmed"),
        reasons("Reasons of a policy on a node"),
    ]
    .concat();
    for reason in reasons {
        let ready = json!({
            "type": "Ready", "status": "False", "reason": reason, "message": "", "observedGeneration": 1
        });
        let policy =
            json!({"kind": "XdpPolicy", "metadata": {"generation": 1}, "status": {"conditions": [ready]}});
        let expected = if is_transient(reason) {
            "Progressing"
        } else {
            "Degraded"
        };
        assert_eq!(health(installed, &policy).0, expected, "{reason}");
    }
}
