//! The health scripts for Argo CD know the reasons of this API.

use std::{collections::BTreeSet, fs};

use xdp_crds::conditions::{TRANSIENT, node};

/// Returns the reasons that the script of a kind lists as transient.
fn listed(kind: &str) -> BTreeSet<String> {
    let path = format!(
        "{}/../charts/argocd/xdp-operator.io/{kind}/health.lua",
        env!("CARGO_MANIFEST_DIR")
    );
    let script = fs::read_to_string(path).expect("the script exists");
    let (_, list) = script
        .split_once("local transient = {\n")
        .expect("it has the list");
    let (list, _) = list.split_once("\n}\n").expect("the list ends");
    let reasons = list.lines().map(|line| {
        let reason = line.trim().strip_suffix(" = true,");
        reason.expect("a line has a reason").to_owned()
    });
    reasons.collect()
}

fn set<'a>(reasons: impl Iterator<Item = &'a &'static str>) -> BTreeSet<String> {
    reasons.map(|reason| (*reason).to_owned()).collect()
}

#[test]
fn a_policy_progresses_while_its_reason_is_transient() {
    assert_eq!(listed("XdpPolicy"), set(TRANSIENT.iter()));
}

#[test]
fn a_node_state_progresses_while_the_reason_of_a_policy_is_transient() {
    let of_nodes = |reason: &&&str| node::ALL.iter().any(|of_node| of_node.name == **reason);
    assert_eq!(listed("XdpNodeState"), set(TRANSIENT.iter().filter(of_nodes)));
}
