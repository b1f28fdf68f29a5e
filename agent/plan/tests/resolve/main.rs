//! Resolving policies: the addresses of their sources, and the sets that they need and wait for.

mod fixture;
mod versions;

use std::collections::BTreeSet;

use fixture::{Node, pod, pods, policy, reason, set, set_of, slice, sources, version, with_nodes};
use serde_json::json;
use xdp_crds::conditions::node;
use xdp_plan::{
    pod::Pod,
    resolve::{PeerSlice, without_cluster},
};

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
fn a_slice_beyond_the_count_is_ignored() {
    let slices = [
        slice("proxy", 0, 1, &["10.0.0.1"]),
        slice("proxy", 1, 2, &["10.0.0.9"]),
    ];
    let resolved = Node::default().sees([version(policy(1, &[json!([pods("proxy")])]))], &slices);
    assert_eq!(sources(&resolved), [vec!["10.0.0.1/32"]]);
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
