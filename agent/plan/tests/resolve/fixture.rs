//! A policy, its sets of addresses, and the node that resolves it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use xdp_crds::{XdpPeerSetSpec, XdpPolicy, policy::SetId};
use xdp_plan::{
    pod::Pod,
    policy::{Policy, Source, Sources},
    report::Problem,
    resolve::{LocalNode, NodePolicy, PeerSlice, PolicyVersion, ResolvedPolicies, SourceResolver},
};

/// A policy with one rule per list of sources.
pub(crate) fn policy(generation: i64, peers: &[Value]) -> Policy {
    with_nodes(generation, peers, &json!({}))
}

pub(crate) fn with_nodes(generation: i64, peers: &[Value], nodes: &Value) -> Policy {
    let rules: Vec<Value> = (0..)
        .zip(peers)
        .map(|(index, from)| json!({"name": format!("r{index}"), "from": from, "action": "Drop"}))
        .collect();
    let object: XdpPolicy = serde_json::from_value(json!({
        "apiVersion": "xdp-operator.io/v1alpha1",
        "kind": "XdpPolicy",
        "metadata": {"namespace": "games", "name": "players", "uid": "u", "generation": generation},
        "spec": {"podSelector": {}, "nodeSelector": nodes, "ingress": rules},
    }))
    .expect("a valid object");
    Policy::try_from(&object).expect("a valid object")
}

pub(crate) fn pods(role: &str) -> Value {
    json!({"podSelector": {"matchLabels": {"role": role}}})
}

/// The set of the pods of a role in the namespace of the policies.
pub(crate) fn set(role: &str) -> SetId {
    set_of(&pods(role))
}

pub(crate) fn set_of(source: &Value) -> SetId {
    let policy = policy(1, &[json!([source])]);
    let source = policy.rules[0].pod_sources().next().expect("a pod selector");
    source.selection(&policy.namespace).id()
}

pub(crate) fn slice(role: &str, number: u32, slices: u32, addresses: &[&str]) -> PeerSlice {
    let spec: XdpPeerSetSpec = serde_json::from_value(json!({
        "selection": format!("the pods of role {role}"),
        "slice": number,
        "slices": slices,
        "addresses": addresses,
    }))
    .expect("a valid object");
    PeerSlice { set: set(role), spec }
}

pub(crate) fn version(policy: Policy) -> PolicyVersion {
    PolicyVersion {
        namespace: policy.namespace.clone(),
        name: policy.name.clone(),
        uid: policy.uid.clone(),
        generation: policy.generation,
        content: Ok(policy.into()),
    }
}

pub(crate) fn refused(generation: i64) -> PolicyVersion {
    let content = Err(Problem::new(
        "XdpPolicy games/players",
        "BadPort",
        "no port",
        "choose one",
    ));
    PolicyVersion {
        content,
        ..version(policy(generation, &[]))
    }
}

/// A resolver on a node of a zone, with pods.
pub(crate) struct Node(SourceResolver, pub(crate) &'static str, pub(crate) Vec<Pod>);

impl Default for Node {
    fn default() -> Self {
        Self(SourceResolver::default(), "a", vec![pod("games")])
    }
}

pub(crate) fn pod(namespace: &str) -> Pod {
    Pod {
        namespace: namespace.to_owned(),
        name: "a".to_owned(),
        ..Pod::default()
    }
}

impl Node {
    pub(crate) fn sees(
        &mut self,
        version: impl IntoIterator<Item = PolicyVersion>,
        slices: &[PeerSlice],
    ) -> ResolvedPolicies {
        let labels = BTreeMap::from([("zone".to_owned(), self.1.to_owned())]);
        let version: Vec<PolicyVersion> = version.into_iter().collect();
        self.0
            .resolve(&version, slices, &LocalNode::new(&labels, &self.2))
    }

    pub(crate) fn needs(&self, versions: &[PolicyVersion]) -> BTreeSet<SetId> {
        let labels = BTreeMap::from([("zone".to_owned(), self.1.to_owned())]);
        self.0.needed(versions, &LocalNode::new(&labels, &self.2))
    }
}

/// Lists the sources of every resolved rule.
pub(crate) fn sources(resolved: &ResolvedPolicies) -> Vec<Vec<String>> {
    let rules = resolved.policies.iter().flat_map(|policy| &policy.rules);
    rules
        .map(|rule| match &rule.from {
            Sources::Any => vec!["any".to_owned()],
            Sources::Listed(sources) => sources
                .iter()
                .map(|source| match source {
                    Source::Block(block) => block.cidr.to_string(),
                    Source::Pods(pods) => panic!("{pods:?} is not resolved"),
                })
                .collect(),
        })
        .collect()
}

pub(crate) fn reason(resolved: &ResolvedPolicies) -> Option<&str> {
    let [NodePolicy { obstacle, .. }] = &*resolved.node_policies else {
        panic!("one policy applies: {:?}", resolved.node_policies)
    };
    obstacle.as_ref().map(|obstacle| obstacle.reason.as_str())
}
