//! Deleted objects leave nothing behind.

use anyhow::ensure;
use serde_json::{Value, json};
use xdp_e2e::installed::{ClusterPodSpec, Installation, Space};
use xdp_kubernetes::Node;

use crate::fixture::{PLAYERS, deliver};

/// Waits until neither the node's metrics nor its state contain the policy.
#[track_caller]
fn expect_removed(installed: &Installation, namespace: &str, node: &Node) {
    let state = installed.until_node_state("the policy is removed", node, |state| {
        let policies = state["status"]["policies"].as_array();
        policies
            .into_iter()
            .flatten()
            .all(|policy| policy["namespace"] != namespace)
    });
    state.unwrap();
    let metrics = installed.until("the metrics of the policy are removed", || {
        let metrics = installed.agent_metrics(node)?;
        let label = format!("namespace=\"{namespace}\"");
        let found: Vec<&str> = metrics
            .text
            .lines()
            .filter(|line| line.contains(&label))
            .collect();
        ensure!(found.is_empty(), "{}: {found:#?}", node.name);
        Ok(())
    });
    metrics.unwrap();
}

fn two_pods(space: &Space<'_>) {
    let pods = [
        ClusterPodSpec::new("ptp", "game", 1),
        ClusterPodSpec::new("bridge", "game", 2),
    ];
    space.pods(&pods).unwrap();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    space.until_programmed("game", 2).unwrap();
}

#[test]
fn a_deleted_policy_is_gone_from_nodes_and_metrics_and_packets_pass() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("deleted-policy").unwrap();
    two_pods(&space);
    space.kubectl(&["delete", "xdppolicy", "game"]).unwrap();
    for (node, name) in installed.nodes().iter().zip(["ptp", "bridge"]) {
        expect_removed(installed, &space.name, node);
        let pod = space.wait_pod(name).unwrap();
        assert_eq!(deliver(installed, &pod, 20).with_mark("UDP", 0), 20);
    }
}

#[test]
fn a_deleted_namespace_removes_its_policies_and_pods_without_delay() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("deleted-namespace").unwrap();
    two_pods(&space);
    installed
        .kubectl(&["delete", "namespace", &space.name, "--timeout=120s"])
        .unwrap();
    for node in installed.nodes() {
        expect_removed(installed, &space.name, node);
    }
}

/// Deletes the object of a node that still runs: its kubelet and its agent continue.
#[test]
fn without_its_node_object_a_node_has_no_state_enforces_and_reports_again_when_it_is_back() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let space = installed.space("deleted-node").unwrap();
    two_pods(&space);
    let (node, pod) = (installed.node(2), space.wait_pod("bridge").unwrap());
    let path = "/api/v1/nodes/node2";
    let old = installed.api(path).unwrap();
    let back = RestoreNode(installed, node_object(&old).to_string());
    installed.kubectl(&["delete", "node", "node2"]).unwrap();
    let state = "/apis/xdp-operator.io/v1alpha1/xdpnodestates/node2";
    let gone = installed.until("its XdpNodeState is gone", || {
        let found = installed.find(state)?;
        ensure!(found.is_none(), "it exists: {:#}", found.unwrap_or_default());
        Ok(())
    });
    // Its pods are deleted 40 seconds later; the node is back before that.
    let enforced = deliver(installed, &pod, 50).with_mark("UDP", 42);
    drop(back);
    gone.unwrap();
    assert_eq!(enforced, 50);
    installed.wait_ready().unwrap();

    let uid = installed.api(path).unwrap()["metadata"]["uid"].clone();
    assert_ne!(uid, old["metadata"]["uid"]);
    let state = installed
        .until_node_state("it belongs to the new node", node, |state| {
            state["metadata"]["ownerReferences"][0]["uid"] == uid && !state["status"].is_null()
        })
        .unwrap();
    assert_eq!(state["status"]["nics"][0]["mode"], "Native");
    space.until_programmed("game", 2).unwrap();
}

/// Creates the node's object again when dropped, because later tests need it.
struct RestoreNode<'a>(&'a Installation, String);

impl Drop for RestoreNode<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.apply(&self.1) {
            println!("{error:#}");
        }
    }
}

/// Returns the parts of a node's object that its kubelet requires.
fn node_object(node: &Value) -> Value {
    let (metadata, spec) = (&node["metadata"], &node["spec"]);
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": metadata["name"], "labels": metadata["labels"]},
        "spec": {"podCIDR": spec["podCIDR"], "podCIDRs": spec["podCIDRs"]},
    })
}
