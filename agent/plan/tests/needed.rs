//! What a node needs: with it alone, its pods get the rules that they would get with everything.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use xdp_crds::{XdpPeerSetSpec, XdpPolicy};
use xdp_plan::{
    pod::Pod,
    policy::Policy,
    resolve::{LocalNode, NodePolicy, PeerSlice, PolicyVersion, ResolvedPolicies, SourceResolver},
};

const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const APPS: [&str; 2] = ["web", "game"];

/// A policy: its namespace, the app and the zone that it selects, and the apps of its sources.
type Written = (usize, usize, Option<bool>, Vec<(bool, usize)>);

fn source(everywhere: bool, app: usize) -> Value {
    let pods = json!({"matchLabels": {"app": APPS[app]}});
    if everywhere {
        json!({"namespaceSelector": {}, "podSelector": pods})
    } else {
        json!({"podSelector": pods})
    }
}

fn version(number: usize, (namespace, app, zone, sources): &Written) -> PolicyVersion {
    let from: Vec<Value> = sources.iter().map(|(all, app)| source(*all, *app)).collect();
    let zone = zone.map(|here| json!({"matchLabels": {"zone": if here { "here" } else { "there" }}}));
    let object: XdpPolicy = serde_json::from_value(json!({
        "apiVersion": "xdp-operator.io/v1alpha1",
        "kind": "XdpPolicy",
        "metadata": {
            "namespace": NAMESPACES[*namespace],
            "name": format!("p{number}"),
            "uid": "u",
            "generation": 1,
        },
        "spec": {
            "podSelector": {"matchLabels": {"app": APPS[*app]}},
            "nodeSelector": zone.unwrap_or_else(|| json!({})),
            "ingress": [{"name": "r", "action": "Drop", "from": from}],
        },
    }))
    .expect("a valid object");
    let policy = Policy::try_from(&object).expect("a valid policy");
    PolicyVersion {
        namespace: policy.namespace.clone(),
        name: policy.name.clone(),
        uid: policy.uid.clone(),
        generation: policy.generation,
        content: Ok(policy.into()),
    }
}

/// Returns the set of each source that a policy can have. Those that are `complete` have an address, all
/// others lack a slice.
fn slices(complete: &[bool]) -> Vec<PeerSlice> {
    let sources = (0..NAMESPACES.len()).flat_map(|namespace| {
        [(false, 0), (false, 1), (true, 0), (true, 1)].map(|(everywhere, app)| (namespace, everywhere, app))
    });
    let slice = |((namespace, everywhere, app), (number, complete)): (_, (usize, &bool))| {
        let version = version(0, &(namespace, 0, None, vec![(everywhere, app)]));
        let written = version.content.expect("a valid policy");
        let source = written.policy().rules[0].pod_sources().next().expect("a source");
        let spec: XdpPeerSetSpec = serde_json::from_value(json!({
            "selection": "pods",
            "slice": 0,
            "slices": if *complete { 1 } else { 2 },
            "addresses": [format!("10.0.{namespace}.{number}")],
        }))
        .expect("a valid spec");
        let set = source.selection(NAMESPACES[namespace]).id();
        PeerSlice { set, spec }
    };
    sources.zip(complete.iter().enumerate()).map(slice).collect()
}

fn pod((namespace, app, host_network): (usize, usize, bool)) -> Pod {
    Pod {
        namespace: NAMESPACES[namespace].to_owned(),
        name: "a".to_owned(),
        labels: BTreeMap::from([("app".to_owned(), APPS[app].to_owned())]),
        host_network,
        ..Pod::default()
    }
}

/// Returns what is programmed and reported for policies that select one of the pods.
fn for_pods<'a>(resolved: &'a ResolvedPolicies, pods: &[Pod]) -> (Vec<&'a Policy>, Vec<&'a NodePolicy>) {
    let selects = |policy: &Policy| {
        let mut own = pods.iter().filter(|pod| !pod.host_network);
        own.any(|pod| pod.namespace == policy.namespace && policy.selector.matches(&pod.labels))
    };
    let policies = resolved.policies.iter().filter(|policy| selects(policy));
    let reported = resolved.node_policies.iter();
    let reported = reported.filter(|reported| reported.policy.as_deref().is_some_and(selects));
    (policies.collect(), reported.collect())
}

fn written() -> impl Strategy<Value = Written> {
    let sources = prop::collection::vec((any::<bool>(), 0..2_usize), 1..3);
    (0..3_usize, 0..2_usize, any::<Option<bool>>(), sources)
}

proptest! {
    #[test]
    fn pods_get_the_same_rules_from_what_their_node_needs_as_from_everything(
        written in prop::collection::vec(written(), 0..8),
        pods in prop::collection::vec((0..3_usize, 0..2_usize, any::<bool>()), 0..4),
        complete in prop::collection::vec(any::<bool>(), 12),
    ) {
        let labels = BTreeMap::from([("zone".to_owned(), "here".to_owned())]);
        let pods: Vec<Pod> = pods.into_iter().map(pod).collect();
        let node = LocalNode::new(&labels, &pods);
        let all = written.iter().enumerate();
        let all: Vec<PolicyVersion> = all.map(|(number, one)| version(number, one)).collect();
        let slices = slices(&complete);
        let everything = SourceResolver::default().resolve(&all, &slices, &node);

        let here: BTreeSet<&str> = pods.iter().map(|pod| pod.namespace.as_str()).collect();
        let near = || all.iter().filter(|version| here.contains(version.namespace.as_str()));
        let mut resolver = SourceResolver::default();
        let needed = resolver.needed(near(), &node);
        let sets = slices.iter().filter(|slice| needed.contains(&slice.set));
        let resolved = resolver.resolve(near(), sets, &node);

        let concerning = for_pods(&resolved, &pods);
        prop_assert_eq!(&concerning, &for_pods(&everything, &pods));
        let mut waiting = resolved.node_policies.iter().filter(|reported| reported.obstacle.is_some());
        prop_assert!(waiting.all(|policy| concerning.1.contains(&policy)), "others wait for nothing");
    }
}
