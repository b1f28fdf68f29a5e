//! The API server accepts and refuses the objects of the tables of `xdp-crds`.

use serde_json::Value;
use xdp_e2e::installed::{API, Installation, Space};

fn table(text: &str) -> Vec<Value> {
    let table: Vec<Value> = serde_saphyr::from_str(text).unwrap();
    assert!(!table.is_empty());
    table
}

/// Creates an object as `kubectl create` does, with strict validation of fields, as a dry run.
fn create(installed: &Installation, space: &Space<'_>, object: &Value) -> (u16, Value) {
    let plural = match object["kind"].as_str().unwrap() {
        "XdpPolicy" => format!("namespaces/{}/xdppolicies", space.name),
        "XdpPeerSet" => format!("namespaces/{}/xdppeersets", space.name),
        "XdpNodeState" => "xdpnodestates".to_owned(),
        other => panic!("unknown kind: {other}"),
    };
    let path = format!("{API}/{plural}?dryRun=All&fieldValidation=Strict");
    installed.post(&path, object).unwrap()
}

#[test]
fn every_bad_object_is_refused_with_a_message_that_names_the_remedy() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("refused").unwrap();
    let mut wrong = Vec::new();
    for entry in table(include_str!("../../../crds/tests/refused.yaml")) {
        let (status, answer) = create(installed, &space, &entry["object"]);
        let message = answer["message"].as_str().unwrap_or_default();
        let expected = entry["message"].as_str().unwrap();
        if !matches!(status, 400 | 422) || !message.contains(expected) {
            wrong.push(format!("{}: {status} {message}", entry["name"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_good_object_is_accepted() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("accepted").unwrap();
    let mut wrong = Vec::new();
    for entry in table(include_str!("../../../crds/tests/accepted.yaml")) {
        let (status, answer) = create(installed, &space, &entry["object"]);
        if status != 201 {
            wrong.push(format!("{}: {status} {}", entry["name"], answer["message"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn kubectl_shows_the_message() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("refused-by-kubectl").unwrap();
    let rule = "{name: a, action: Drop, from: [{ipBlock: {cidr: 198.51.100.7/24}}]}";
    let finished = space
        .try_apply(&xdp_e2e::installed::policy("bad", "podSelector: {}", &[rule]))
        .unwrap();
    assert!(!finished.status.success());
    let words = "write the network's own address (198.51.100.0/24, not 198.51.100.7/24)";
    assert!(finished.stderr.contains(words), "{}", finished.stderr);
}
