//! Which version is programmed while the newest one is incomplete.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;
use xdp_crds::conditions::node;
use xdp_plan::resolve::{PeerSlice, PolicyVersion, ResolvedPolicies};

use crate::fixture::{Node, pods, policy, reason, refused, set, slice, sources, version, with_nodes};

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
