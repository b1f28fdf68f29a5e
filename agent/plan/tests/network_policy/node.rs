//! What is certain for the pods of a node, as what is known changes.

use std::sync::Arc;

use serde_json::{Value, json};
use xdp_crds::{
    XdpPeerSetSpec,
    network_policy::{ClusterSet, NETWORK_POLICY},
};
use xdp_plan::{
    network_policy::{
        CertainTraffic, Certainty, EvaluatedPods, KnownPolicy, KnownSets, NodeCertainty, NodePolicies,
        NotCertainReason, UnlistedPolicies,
    },
    permission::NamespaceLabels,
    pod::Pod,
    policy::{Protocol, SetId},
    resolve::PeerSlice,
};

use super::fixture::{Cluster, OUTSIDE, of_cluster, v1};

const Y1: &str = "10.1.0.2";

/// The pods `x1` and `y1` of namespace `a`, and `x2` of `b`, on one node.
struct Node {
    certainty: NodeCertainty,
    policies: Vec<KnownPolicy>,
    pods: Vec<Pod>,
    labels: NamespaceLabels,
    slices: Vec<Arc<PeerSlice>>,
    sets: KnownSets,
    unlisted: Option<(Option<&'static str>, xdp_crds::network_policy::PolicyKind)>,
}

fn slice(set: SetId, addresses: &[&str], networks: &[&str]) -> Arc<PeerSlice> {
    let spec = XdpPeerSetSpec {
        selection: String::new(),
        slice: 0,
        slices: 1,
        addresses: addresses
            .iter()
            .map(|address| address.parse().expect("valid"))
            .collect(),
        networks: networks
            .iter()
            .map(|network| network.parse().expect("valid"))
            .collect(),
    };
    Arc::new(PeerSlice { set, spec })
}

fn cluster_slices() -> Vec<Arc<PeerSlice>> {
    vec![
        slice(ClusterSet::Ranges.id(), &[], &["10.1.0.0/16", "fd00:1::/64"]),
        slice(ClusterSet::Nodes.id(), &["192.0.2.1"], &[]),
        slice(ClusterSet::Disputed.id(), &[], &[]),
    ]
}

impl Node {
    fn new(policies: Vec<Value>) -> Self {
        let cluster = Cluster::new(policies);
        let known = cluster.known();
        let unreadable = known
            .unreadable
            .into_iter()
            .map(Arc::new)
            .map(KnownPolicy::Unreadable);
        let policies = known.policies.into_iter().map(KnownPolicy::Ingress);
        Self {
            certainty: NodeCertainty::default(),
            policies: policies.chain(unreadable).collect(),
            pods: ["x1", "y1", "x2"].map(|name| cluster.pod(name)).into(),
            labels: known.namespaces,
            slices: cluster_slices(),
            sets: KnownSets::default(),
            unlisted: None,
        }
    }

    fn set_policies(&mut self, policies: Vec<Value>) {
        self.policies = Self::new(policies).policies;
    }

    fn evaluate(&mut self) -> EvaluatedPods {
        let mut known = NodePolicies::default();
        for policy in &self.policies {
            match policy.name().namespace.as_deref() {
                Some(namespace) => known.of_namespaces.entry(namespace).or_default().push(policy),
                None => known.of_cluster.push(policy),
            }
        }
        known.unlisted = self
            .unlisted
            .map(|(namespace, kind)| UnlistedPolicies { kind, namespace })
            .into_iter()
            .collect();
        self.certainty.select(&self.pods, &known, &self.labels);
        self.sets.update(&self.slices);
        self.certainty.evaluate(&self.sets, &self.labels)
    }

    fn of(&mut self, name: &str) -> Arc<CertainTraffic> {
        let pod = self
            .pods
            .iter()
            .find(|pod| pod.name == name)
            .expect("a pod of the node");
        let key = (pod.namespace.clone(), pod.name.clone());
        Arc::clone(&self.evaluate().certainty[&key])
    }

    fn why(&mut self, pod: &str, source: &str) -> Option<NotCertainReason> {
        let source = source.parse().expect("valid");
        match self.of(pod).certainty(source, Protocol::Tcp, 80) {
            Certainty::Certain => None,
            Certainty::NotCertain(why) => Some(why.reason),
        }
    }
}

fn allow(name: &str, pods: Value, from: Value) -> Value {
    let mut spec = json!({"ingress": [{}]});
    spec["podSelector"] = pods;
    spec["ingress"][0]["from"] = from;
    v1("a", name, &spec)
}

fn block(cidr: &str) -> Value {
    json!([{"ipBlock": {"cidr": cidr}}])
}

fn app(name: &str) -> Value {
    json!({"matchLabels": {"app": name}})
}

#[test]
fn a_pod_that_no_policy_selects_has_everything_certain_and_needs_no_set() {
    let mut node = Node::new(vec![allow("p", app("x"), block("198.51.100.0/24"))]);
    node.slices.clear();
    assert!(node.of("y1").is_everything() && node.of("x2").is_everything());
    assert_eq!(node.why("x1", OUTSIDE[0]), Some(NotCertainReason::ClusterPending));
    node.slices = cluster_slices();
    assert_eq!(node.why("x1", OUTSIDE[0]), None);
    assert_eq!(node.why("x1", "203.0.113.9"), Some(NotCertainReason::NotAllowed));

    let mut node = Node::new(vec![allow("p", app("z"), json!([{"podSelector": {}}]))]);
    node.evaluate();
    assert!(node.certainty.needed().is_empty());
}

#[test]
fn sets_are_needed_of_policies_that_select_a_pod_here_and_with_them_those_of_the_cluster() {
    let of = |pods| vec![allow("p", app(pods), json!([{"podSelector": app("y")}]))];
    let mut node = Node::new(of("x"));
    node.evaluate();
    assert_eq!(node.certainty.needed().len(), 4);
    node.set_policies(of("z"));
    node.evaluate();
    assert_eq!(node.certainty.needed().len(), 0);
}

#[test]
fn a_networks_of_the_ranges_are_addresses_of_the_cluster() {
    let mut node = Node::new(vec![allow("p", json!({}), block("0.0.0.0/0"))]);
    assert_eq!(node.why("x1", OUTSIDE[0]), None);
    assert_eq!(
        node.why("x1", "10.1.200.1"),
        Some(NotCertainReason::BlockInCluster)
    );
}

#[test]
fn a_list_that_is_not_known_concerns_the_pods_of_its_namespace_or_all() {
    let mut node = Node::new(vec![]);
    node.unlisted = Some((Some("a"), NETWORK_POLICY));
    assert_eq!(
        node.why("x1", OUTSIDE[0]),
        Some(NotCertainReason::PoliciesPending)
    );
    assert_eq!(node.why("x2", OUTSIDE[0]), None);
    let why = node.of("x1").reasons()[0].to_string();
    assert_eq!(why, "NetworkPolicy a/* (PoliciesPending)");
    node.unlisted = Some((None, NETWORK_POLICY));
    assert_eq!(
        node.why("x2", OUTSIDE[0]),
        Some(NotCertainReason::PoliciesPending)
    );
    node.unlisted = None;
    assert!(node.of("x1").is_everything());
}

#[test]
fn a_stricter_policy_binds_at_once_and_a_removed_one_no_longer() {
    let wide = allow("p", json!({}), block("198.51.100.0/24"));
    let mut node = Node::new(vec![wide.clone()]);
    assert_eq!(node.why("x1", OUTSIDE[0]), None);
    node.set_policies(vec![allow("p", json!({}), block("198.51.100.0/26"))]);
    assert_eq!(node.why("x1", OUTSIDE[1]), Some(NotCertainReason::NotAllowed));
    node.set_policies(vec![wide]);
    assert_eq!(node.why("x1", OUTSIDE[1]), None);
    let deny = json!([{"action": "Deny", "from": [{"namespaces": {}}]}]);
    let spec = json!({"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "ingress": deny});
    node.set_policies(vec![of_cluster("ClusterNetworkPolicy", "deny", &spec)]);
    assert_eq!(node.why("x2", Y1), Some(NotCertainReason::AddressesPending));
    node.set_policies(vec![]);
    assert!(node.of("x1").is_everything());
}

#[test]
fn an_address_that_moves_counts_where_its_set_has_it() {
    let from = json!([{"podSelector": app("y")}]);
    let mut node = Node::new(vec![allow("p", app("x"), from)]);
    assert_eq!(node.why("x1", Y1), Some(NotCertainReason::AddressesPending));
    let cluster: Vec<SetId> = ClusterSet::ALL.map(ClusterSet::id).into();
    let set = node
        .certainty
        .needed()
        .into_iter()
        .find(|set| !cluster.contains(set))
        .expect("needed");
    node.slices.push(slice(set.clone(), &[Y1], &[]));
    assert_eq!(node.why("x1", Y1), None);
    node.slices.pop();
    node.slices.push(slice(set, &["10.1.0.9"], &[]));
    assert_eq!(node.why("x1", Y1), Some(NotCertainReason::NotAllowed));
    assert_eq!(node.why("x1", "10.1.0.9"), None);
}

#[test]
fn unchanged_and_equal_pods_share_one_result() {
    let policies = || vec![allow("p", json!({}), block("198.51.100.0/24"))];
    let mut node = Node::new(policies());
    let before = node.of("x1");
    assert!(
        Arc::ptr_eq(&before, &node.of("y1")),
        "the policy and the ports are the same"
    );
    node.slices = cluster_slices();
    node.set_policies(policies());
    assert!(Arc::ptr_eq(&before, &node.of("x1")), "nothing has changed");
    let mut others = policies();
    others.push(allow("other", app("z"), block("0.0.0.0/0")));
    node.set_policies(others);
    assert!(
        Arc::ptr_eq(&before, &node.of("x1")),
        "the new policy selects another pod"
    );
}

#[test]
fn labels_of_a_pod_or_a_namespace_that_change_select_again() {
    let mut node = Node::new(vec![allow("p", app("x"), json!([]))]);
    assert!(node.of("y1").is_everything());
    node.pods[1].labels = node.pods[0].labels.clone();
    assert!(!node.of("y1").is_everything());

    let subject = json!({"namespaces": {"matchLabels": {"team": "green"}}});
    let rule = json!({"action": "Deny", "from": [{"namespaces": {}}]});
    let spec = json!({"tier": "Admin", "priority": 1, "subject": subject, "ingress": [rule]});
    let mut node = Node::new(vec![of_cluster("ClusterNetworkPolicy", "p", &spec)]);
    assert!(node.of("x2").is_everything());
    node.labels
        .get_mut("b")
        .expect("known")
        .insert("team".to_owned(), "green".to_owned());
    assert!(!node.of("x2").is_everything() && node.of("x1").is_everything());
    node.labels.remove("b");
    assert_eq!(
        node.why("x2", OUTSIDE[0]),
        Some(NotCertainReason::NamespacePending)
    );
}

#[test]
fn policies_that_cost_much_wait_and_the_pods_of_others_do_not() {
    let many = |count: usize, cidr: &str| -> Vec<Value> {
        (0..count)
            .map(|number| allow(&format!("p{number:05}"), json!({}), block(cidr)))
            .collect()
    };
    let with_b = |mut policies: Vec<Value>, cidr: &str| {
        let spec = json!({"podSelector": {}, "ingress": [{"from": block(cidr)}]});
        policies.push(v1("b", "p", &spec));
        policies
    };
    let mut node = Node::new(with_b(many(3_000, "198.51.100.0/24"), "198.51.100.0/24"));
    node.pods[1].ports.clear();
    assert!(
        !node.evaluate().pending,
        "the first time, everything is evaluated"
    );
    node.set_policies(with_b(many(3_000, "198.51.100.0/25"), "198.51.100.0/25"));
    let first = node.evaluate();
    assert!(first.pending);
    let waits = |evaluated: &EvaluatedPods, namespace: &str, name: &str| {
        let traffic = &evaluated.certainty[&(namespace.to_owned(), name.to_owned())];
        let mut reasons = traffic.reasons().iter();
        reasons.any(|why| why.reason == NotCertainReason::PoliciesPending)
    };
    assert!(!waits(&first, "b", "x2"));
    assert!(waits(&first, "a", "x1") && waits(&first, "a", "y1"));
    let second = node.evaluate();
    assert!(second.pending && !waits(&second, "a", "x1") && waits(&second, "a", "y1"));
    let third = node.evaluate();
    assert!(!third.pending && !waits(&third, "a", "y1"));
}

#[test]
fn any_sequence_of_changes_has_the_same_result_as_a_start_with_the_last_state() {
    let names = ["p0", "p1", "p2", "p3", "p4"];
    let mut node = Node::new(vec![]);
    for step in 0..64_u32 {
        let chosen = names
            .iter()
            .enumerate()
            .filter(|(index, _)| step.wrapping_mul(11) >> index & 1 == 1);
        let policies: Vec<Value> = chosen
            .map(|(index, name)| {
                let pods = if (step as usize + index).is_multiple_of(2) {
                    app("x")
                } else {
                    json!({})
                };
                allow(name, pods, block(&format!("198.51.{index}.0/24")))
            })
            .collect();
        node.set_policies(policies.clone());
        assert_eq!(node.evaluate(), Node::new(policies).evaluate(), "step {step}");
    }
}
