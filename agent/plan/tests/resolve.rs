//! Resolving policies: which version is programmed while the newest one is incomplete.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use xdp_crds::{XdpPeerSetSpec, XdpPolicy, conditions::node, policy::SetId};
use xdp_plan::{
    pod::Pod,
    policy::{Policy, Source, Sources},
    report::Problem,
    resolve::{
        LocalNode, NodePolicy, PeerSlice, PolicyVersion, ResolvedPolicies, SourceResolver, without_cluster,
    },
};

/// A policy with one rule per list of sources.
fn policy(generation: i64, peers: &[Value]) -> Policy {
    with_nodes(generation, peers, &json!({}))
}

fn with_nodes(generation: i64, peers: &[Value], nodes: &Value) -> Policy {
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

fn pods(role: &str) -> Value {
    json!({"podSelector": {"matchLabels": {"role": role}}})
}

/// The set of the pods of a role in the namespace of the policies.
fn set(role: &str) -> SetId {
    set_of(&pods(role))
}

fn set_of(source: &Value) -> SetId {
    let policy = policy(1, &[json!([source])]);
    let source = policy.rules[0].pod_sources().next().expect("a pod selector");
    source.selection(&policy.namespace).id()
}

fn slice(role: &str, number: u32, slices: u32, addresses: &[&str]) -> PeerSlice {
    let spec: XdpPeerSetSpec = serde_json::from_value(json!({
        "selection": format!("the pods of role {role}"),
        "slice": number,
        "slices": slices,
        "addresses": addresses,
    }))
    .expect("a valid object");
    PeerSlice { set: set(role), spec }
}

fn version(policy: Policy) -> PolicyVersion {
    PolicyVersion {
        namespace: policy.namespace.clone(),
        name: policy.name.clone(),
        uid: policy.uid.clone(),
        generation: policy.generation,
        content: Ok(policy.into()),
    }
}

fn refused(generation: i64) -> PolicyVersion {
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
struct Node(SourceResolver, &'static str, Vec<Pod>);

impl Default for Node {
    fn default() -> Self {
        Self(SourceResolver::default(), "a", vec![pod("games")])
    }
}

fn pod(namespace: &str) -> Pod {
    Pod {
        namespace: namespace.to_owned(),
        name: "a".to_owned(),
        ..Pod::default()
    }
}

impl Node {
    fn sees(
        &mut self,
        version: impl IntoIterator<Item = PolicyVersion>,
        slices: &[PeerSlice],
    ) -> ResolvedPolicies {
        let labels = BTreeMap::from([("zone".to_owned(), self.1.to_owned())]);
        let version: Vec<PolicyVersion> = version.into_iter().collect();
        self.0
            .resolve(&version, slices, &LocalNode::new(&labels, &self.2))
    }

    fn needs(&self, versions: &[PolicyVersion]) -> BTreeSet<SetId> {
        let labels = BTreeMap::from([("zone".to_owned(), self.1.to_owned())]);
        self.0.needed(versions, &LocalNode::new(&labels, &self.2))
    }
}

/// The sources of every resolved rule.
fn sources(resolved: &ResolvedPolicies) -> Vec<Vec<String>> {
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

fn reason(resolved: &ResolvedPolicies) -> Option<&str> {
    let [NodePolicy { obstacle, .. }] = &*resolved.node_policies else {
        panic!("one policy applies: {:?}", resolved.node_policies)
    };
    obstacle.as_ref().map(|obstacle| obstacle.reason.as_str())
}

#[test]
fn selectors_become_the_addresses_of_all_their_slices_and_blocks_stay() {
    let block = json!({"ipBlock": {"cidr": "192.0.2.0/24"}});
    let policy = policy(1, &[json!([pods("proxy"), block]), json!([pods("cache")])]);
    let slices = [
        slice("proxy", 0, 2, &["10.0.0.9", "2001:db8::7"]),
        slice("proxy", 1, 2, &["10.0.0.1"]),
        slice("cache", 0, 1, &["10.0.0.5"]),
    ];
    let resolved = Node::default().sees([version(policy)], &slices);
    assert_eq!(reason(&resolved), None);
    assert_eq!(
        sources(&resolved),
        [
            vec!["10.0.0.1/32", "10.0.0.9/32", "2001:db8::7/128", "192.0.2.0/24"],
            vec!["10.0.0.5/32"]
        ]
    );
}

#[test]
fn adjacent_addresses_are_aggregated_and_no_other_address_is_added() {
    let all: Vec<String> = (0..=6).map(|last| format!("10.0.0.{last}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let resolved = Node::default().sees(
        [version(policy(1, &[json!([pods("proxy")])]))],
        &[slice("proxy", 0, 1, &all)],
    );
    assert_eq!(
        sources(&resolved),
        [vec!["10.0.0.0/30", "10.0.0.4/31", "10.0.0.6/32"]]
    );
}

#[test]
fn a_source_without_addresses_is_resolved_and_matches_nothing() {
    let resolved = Node::default().sees(
        [version(policy(1, &[json!([pods("proxy")])]))],
        &[slice("proxy", 0, 1, &[])],
    );
    assert_eq!(reason(&resolved), None);
    assert_eq!(sources(&resolved), [Vec::<String>::new()]);
}

#[test]
fn a_policy_waits_for_slice_zero_and_for_all_slices_that_it_counts() {
    let policy = || version(policy(1, &[json!([pods("proxy")])]));
    let waits = |slices: &[PeerSlice]| {
        let resolved = Node::default().sees([policy()], slices);
        assert_eq!(resolved.policies, [], "{slices:?}");
        assert_eq!(reason(&resolved), Some(node::PEERS_PENDING), "{slices:?}");
    };
    waits(&[]);
    waits(&[slice("proxy", 1, 2, &["10.0.0.1"])]);
    waits(&[slice("proxy", 0, 2, &["10.0.0.1"])]);
    waits(&[slice("proxy", 0, 3, &["10.0.0.1"]), slice("proxy", 2, 3, &[])]);
    waits(&[slice("other", 0, 1, &["10.0.0.1"])]);
    let elsewhere = PeerSlice {
        set: set_of(&json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"role": "proxy"}}})),
        ..slice("proxy", 0, 1, &["10.0.0.1"])
    };
    waits(&[elsewhere]);
}

#[test]
fn a_policy_that_waits_names_the_selection_once() {
    let twice = version(policy(
        1,
        &[json!([pods("proxy")]), json!([pods("proxy"), pods("cache")])],
    ));
    let waiting = Node::default().sees([twice], &[slice("cache", 0, 1, &[])]);
    let obstacle = waiting.node_policies[0].obstacle.as_ref();
    assert_eq!(
        obstacle.map(|obstacle| obstacle.message.as_str()),
        Some(
            "the addresses of pods {role in (proxy)} of namespace games are not resolved yet; no version of the policy \
             is programmed"
        )
    );
}

#[test]
fn a_policy_that_selects_no_pod_of_the_node_needs_no_set_and_waits_for_none() {
    let mut node = Node::default();
    let first = [version(policy(1, &[json!([pods("proxy")])]))];
    assert_eq!(node.needs(&first), BTreeSet::from([set("proxy")]));

    let finished = Pod {
        finished: true,
        ..pod("games")
    };
    node.2 = vec![pod("other"), finished];
    assert_eq!(node.needs(&first), BTreeSet::new());
    let resolved = node.sees(first, &[]);
    assert_eq!(resolved.policies, []);
    assert_eq!(reason(&resolved), None);
}

#[test]
fn a_policy_for_other_nodes_needs_no_set() {
    let placed = with_nodes(
        1,
        &[json!([pods("proxy")])],
        &json!({"matchLabels": {"zone": "b"}}),
    );
    assert_eq!(Node::default().needs(&[version(placed)]), BTreeSet::new());
}

#[test]
fn while_the_last_complete_version_stays_its_sets_are_needed_too() {
    let mut node = Node::default();
    let first = version(policy(1, &[json!([pods("proxy")])]));
    let second = version(policy(2, &[json!([pods("cache")])]));
    let proxy = [slice("proxy", 0, 1, &["10.0.0.1"])];
    node.sees([first], &proxy);
    let both = BTreeSet::from([set("proxy"), set("cache")]);
    assert_eq!(node.needs(std::slice::from_ref(&second)), both);

    node.sees([second.clone()], &proxy);
    assert_eq!(node.needs(std::slice::from_ref(&second)), both);
    node.sees([refused(3)], &proxy);
    assert_eq!(node.needs(&[refused(3)]), BTreeSet::from([set("proxy")]));

    node.sees([second.clone()], &[slice("cache", 0, 1, &[])]);
    assert_eq!(node.needs(&[second]), BTreeSet::from([set("cache")]));
}

#[test]
fn a_pod_that_comes_back_does_not_get_the_addresses_of_before() {
    for newest in [refused(2), version(policy(2, &[json!([pods("cache")])]))] {
        let mut node = Node::default();
        node.sees(
            [version(policy(1, &[json!([pods("proxy")])]))],
            &[slice("proxy", 0, 1, &["10.0.0.1"])],
        );
        let pods = std::mem::take(&mut node.2);
        assert_eq!(node.sees([newest.clone()], &[]).policies, []);
        node.2 = pods;
        assert_eq!(node.sees([newest.clone()], &[]).policies, []);
        assert!(node.needs(std::slice::from_ref(&newest)).contains(&set("proxy")));
        let again = node.sees([newest], &[slice("proxy", 0, 1, &["10.0.0.2"])]);
        assert_eq!(
            sources(&again),
            [vec!["10.0.0.2/32"]],
            "the last complete version stays"
        );
    }
}

#[test]
fn a_slice_beyond_the_count_is_ignored() {
    let slices = [
        slice("proxy", 0, 1, &["10.0.0.1"]),
        slice("proxy", 1, 2, &["10.0.0.9"]),
    ];
    let resolved = Node::default().sees([version(policy(1, &[json!([pods("proxy")])]))], &slices);
    assert_eq!(sources(&resolved), [vec!["10.0.0.1/32"]]);
}

#[test]
fn while_the_newest_version_waits_the_last_complete_one_stays_and_is_updated() {
    let mut node = Node::default();
    let first = || version(policy(1, &[json!([pods("proxy")])]));
    let second = || version(policy(2, &[json!([pods("cache")])]));
    node.sees([first()], &[slice("proxy", 0, 1, &["10.0.0.1"])]);

    let waiting = node.sees([second()], &[slice("proxy", 0, 1, &["10.0.0.2"])]);
    assert_eq!(sources(&waiting), [vec!["10.0.0.2/32"]]);
    assert_eq!(reason(&waiting), Some(node::PEERS_PENDING));
    assert_eq!(waiting.node_policies[0].generation, 2);

    let waiting = node.sees([second()], &[]);
    assert_eq!(
        sources(&waiting),
        [vec!["10.0.0.2/32"]],
        "the slices of the old source are deleted already"
    );

    let done = node.sees([second()], &[slice("cache", 0, 1, &["10.0.0.3"])]);
    assert_eq!(
        (sources(&done), reason(&done)),
        (vec![vec!["10.0.0.3/32".to_owned()]], None)
    );
}

#[test]
fn while_the_newest_version_is_refused_the_last_one_stays() {
    let mut node = Node::default();
    let block = json!([{"ipBlock": {"cidr": "192.0.2.0/24"}}]);
    node.sees([version(policy(1, std::slice::from_ref(&block)))], &[]);
    let kept = node.sees([refused(2)], &[]);
    assert_eq!(sources(&kept), [vec!["192.0.2.0/24"]]);
    assert_eq!(reason(&kept), Some(node::INVALID_SPEC));
    assert!(
        kept.node_policies[0].policy.is_some(),
        "the last version still selects pods"
    );

    let nothing = Node::default().sees([refused(2)], &[]);
    assert_eq!(nothing.policies, []);
    assert_eq!(nothing.node_policies[0].policy, None);
}

#[test]
fn a_policy_that_is_deleted_or_recreated_has_no_previous_version() {
    let mut node = Node::default();
    let first = || version(policy(1, &[json!([])]));
    node.sees([first()], &[]);
    assert_eq!(node.sees([], &[]), ResolvedPolicies::default());
    assert_eq!(node.sees([refused(2)], &[]).policies, [], "deleted in between");

    node.sees([first()], &[]);
    let again = PolicyVersion {
        uid: "v".to_owned(),
        ..refused(1)
    };
    assert_eq!(
        node.sees([again], &[]).policies,
        [],
        "another uid is another policy"
    );
}

#[test]
fn a_policy_for_other_nodes_does_not_apply_whatever_version_was_complete() {
    let mut node = Node::default();
    let zone = |zone: &str| json!({"matchLabels": {"zone": zone}});
    let here = node.sees([version(with_nodes(1, &[json!([])], &zone("a")))], &[]);
    assert_eq!(here.policies.len(), 1);
    node.1 = "b";
    assert_eq!(
        node.sees([refused(2)], &[]).policies,
        [],
        "the node has moved away from the last one"
    );

    node.1 = "a";
    node.sees([version(with_nodes(1, &[json!([])], &zone("a")))], &[]);
    let moved = version(with_nodes(2, &[json!([pods("proxy")])], &zone("b")));
    assert_eq!(
        node.sees([moved], &[]),
        ResolvedPolicies::default(),
        "a version for other nodes need not be complete"
    );
    assert_eq!(node.sees([refused(3)], &[]).policies, []);
}

#[test]
fn policies_from_files_that_need_a_cluster_are_dropped_with_a_problem() {
    let plain = policy(0, &[json!([])]);
    let selecting = policy(0, &[json!([]), json!([pods("proxy")])]);
    let placed = with_nodes(0, &[], &json!({"matchLabels": {"zone": "a"}}));
    let (kept, problems) = without_cluster(vec![plain.clone().into(), selecting.into(), placed.into()]);
    assert_eq!(kept, [plain.into()]);
    let reasons: Vec<&str> = problems.iter().map(|problem| problem.reason.as_str()).collect();
    assert_eq!(reasons, [node::PEERS_PENDING, "NodeSelectorWithoutNode"]);
}

/// An event of a policy with one pod selector.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write(bool),
    Refuse,
    Delete,
    Complete(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<bool>().prop_map(Step::Write),
        Just(Step::Refuse),
        Just(Step::Delete),
        any::<bool>().prop_map(Step::Complete),
    ]
}

proptest! {
    /// After any sequence of events, the newest version that was valid and complete since the policy was
    /// created is programmed. There is no obstacle exactly when it is the newest version of all.
    #[test]
    fn programmed_is_the_newest_version_that_was_complete(steps in prop::collection::vec(step(), 1..30)) {
        let mut node = Node::default();
        let (mut generation, mut object, mut complete, mut expected) = (0, None, false, None);
        for step in steps {
            match step {
                Step::Write(selector) => {
                    generation += 1;
                    let from = if selector { json!([pods("proxy")]) } else { json!([]) };
                    object = Some((version(policy(generation, &[from])), selector));
                }
                Step::Refuse => {
                    generation += 1;
                    object = object.map(|_| (refused(generation), false));
                }
                Step::Delete => (object, expected) = (None, None),
                Step::Complete(now) => complete = now,
            }
            let slices: Vec<PeerSlice> = complete.then(|| slice("proxy", 0, 1, &[])).into_iter().collect();
            let resolved = node.sees(object.iter().map(|(version, _)| version.clone()), &slices);
            let is_ready = |version: &PolicyVersion, selector: bool| {
                version.content.is_ok() && (complete || !selector)
            };
            let ready = object.as_ref().filter(|(version, selector)| is_ready(version, *selector));
            if let Some((ready, _)) = ready {
                expected = Some(ready.generation);
            }
            let programmed = resolved.policies.first().map(|policy| policy.generation);
            prop_assert_eq!(programmed, expected);
            if object.is_some() {
                prop_assert_eq!(reason(&resolved).is_none(), ready.is_some());
            }
        }
    }
}
