//! The API server sends an agent what the pods of its node need, and nothing else.

use std::collections::BTreeSet;

use anyhow::ensure;
use xdp_e2e::installed::{ClusterPodSpec, Installation, NAMESPACE};
use xdp_kubernetes::Node;

use crate::fixture::PLAYERS;

const FRIENDS: &str = "{name: friends, action: Redirect, from: [{namespaceSelector: {}, podSelector: {matchLabels: {role: fan}}}]}";

/// Returns how many objects of a kind a node's agent has received.
fn received(installed: &Installation, node: &Node, kind: &str) -> anyhow::Result<f64> {
    let metrics = installed.agent_metrics(node)?;
    Ok(metrics.sum("xdp_agent_api_objects_received_total", &[("kind", kind)]))
}

/// Waits until an agent has received objects of a kind.
fn until_received(installed: &Installation, node: &Node, kind: &str, before: f64, objects: f64) {
    let what = format!("the agent on {} receives {objects} {kind}", node.name);
    let found = installed.until(what, || {
        let now = received(installed, node, kind)?;
        ensure!(now - before >= objects, "{} so far", now - before);
        Ok(())
    });
    found.unwrap();
}

#[test]
fn an_agent_receives_neither_policies_nor_sets_that_its_pods_do_not_need() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let space = installed.space("fan-out").unwrap();
    let others = installed.space("fan-out-others").unwrap();
    let target = space.pod(&ClusterPodSpec::new("target", "game", 1)).unwrap();
    let fan = ClusterPodSpec::new("fan", "other", 2).label("role", "fan");
    let fan = others.pod(&fan).unwrap();
    let kinds = ["XdpPolicies", "XdpPeerSets"];
    let counts = |node: &Node| kinds.map(|kind| received(installed, node, kind).unwrap());
    let (here, elsewhere) = (counts(target.node), counts(fan.node));

    space.policy("game", "game", &[FRIENDS, PLAYERS]).unwrap();
    space.until_programmed("game", 1).unwrap();
    space.policy("game", "game", &[PLAYERS, FRIENDS]).unwrap();
    space.until_programmed("game", 1).unwrap();
    // Two versions, each with a status.
    until_received(installed, target.node, kinds[0], here[0], 4.0);
    others.kubectl(&["label", "pod", "fan", "role-"]).unwrap();
    // The set, and the set without the pod.
    until_received(installed, target.node, kinds[1], here[1], 2.0);
    assert_eq!(counts(fan.node).map(f64::to_bits), elsewhere.map(f64::to_bits));
}

#[test]
fn users_with_the_clusters_roles_read_policies_and_no_address_sets() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("sets-readers").unwrap();
    for role in ["view", "edit", "admin"] {
        let user = format!("--user=e2e-{role}");
        let cluster_role = format!("--clusterrole={role}");
        space
            .kubectl(&["create", "rolebinding", role, &cluster_role, &user])
            .unwrap();
        let may = |kind: &str, namespace: &str| {
            let resource = format!("{kind}.xdp-operator.io");
            let user = format!("--as=e2e-{role}");
            let call = ["auth", "can-i", "list", &resource, "-n", namespace, &user];
            installed.try_kubectl(&call).unwrap().stdout.trim() == "yes"
        };
        let readable = installed.until(format!("{role} reads policies"), || {
            ensure!(may("xdppolicies", &space.name));
            Ok(())
        });
        readable.unwrap();
        assert!(!may("xdppeersets", &space.name), "{role}");
        assert!(!may("xdppeersets", NAMESPACE), "{role}");
    }
}

#[test]
fn tokens_of_agents_and_operators_expire_after_an_hour() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    for component in ["agent", "operator"] {
        for pod in installed.components(component).unwrap() {
            assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
            let volumes = pod["spec"]["volumes"].as_array().unwrap();
            let lifetimes: BTreeSet<Option<i64>> = (volumes.iter())
                .filter_map(|volume| volume["projected"]["sources"].as_array())
                .flatten()
                .filter_map(|source| source.get("serviceAccountToken"))
                .map(|token| token["expirationSeconds"].as_i64())
                .collect();
            assert_eq!(
                lifetimes,
                BTreeSet::from([Some(3600)]),
                "{component}: {volumes:?}"
            );
        }
    }
}
