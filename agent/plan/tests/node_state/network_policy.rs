//! What the status says of `NetworkPolicies` and the like.

use std::sync::Arc;

use xdp_crds::network_policy::{NETWORK_POLICY, PolicyName};
use xdp_plan::{
    network_policy::{CertainTraffic, NotCertain, NotCertainReason},
    policy::{NetworkPolicyMode, RuleAction},
};

use super::fixture::{Node, policy};

fn why(name: &str, reason: NotCertainReason) -> NotCertain {
    NotCertain {
        policy: PolicyName {
            kind: NETWORK_POLICY,
            namespace: Some("games".to_owned()),
            name: name.to_owned(),
        },
        reason,
    }
}

/// A node on which nothing is certain for these pods.
fn restricted(pods: &[(&str, &str)]) -> Node {
    let mut node = Node::default();
    for (pod, name) in pods {
        let traffic = CertainTraffic::nothing(why(name, NotCertainReason::NotAllowed));
        node.certainty
            .insert(("games".to_owned(), (*pod).to_owned()), Arc::new(traffic));
    }
    node
}

fn state(node: &Node) -> Option<(bool, Vec<String>)> {
    let state = node.state().policies.remove(0).network_policy?;
    let restrictions = state.restrictions.iter();
    let texts = restrictions.map(|one| format!("{} ({}) {}", one.policy, one.reason, one.pods));
    Some((state.honoured, texts.collect()))
}

#[test]
fn a_policy_that_redirects_says_whether_it_is_restricted_and_another_does_not() {
    assert_eq!(state(&Node::default()), Some((true, vec![])));
    assert_eq!(state(&Node::with(policy(1, RuleAction::Drop))), None);
}

#[test]
fn restrictions_are_counted_by_policy_and_those_of_most_pods_come_first() {
    let node = restricted(&[("server-1", "b"), ("server-2", "b"), ("other", "a")]);
    let expected = vec!["NetworkPolicy games/b (NotAllowed) 2".to_owned()];
    assert_eq!(state(&node), Some((true, expected)));
    let node = restricted(&[("server-1", "b"), ("server-2", "a")]);
    let (_, texts) = state(&node).unwrap();
    assert_eq!(texts.len(), 2);
    assert!(texts[0].contains("games/a"), "{texts:?}");
}

#[test]
fn an_ignoring_policy_has_no_restrictions() {
    let mut of_players = policy(1, RuleAction::Redirect);
    of_players.network_policy = NetworkPolicyMode::Ignore;
    let mut node = Node::with(of_players);
    node.certainty = restricted(&[("server-1", "a")]).certainty;
    assert_eq!(state(&node), Some((false, vec![])));
}

#[test]
fn reasons_that_hold_for_every_selected_pod_are_shown_only_if_there_is_no_other() {
    let mut node = Node::default();
    let traffic = CertainTraffic::nothing(why("p", NotCertainReason::Protocol));
    node.certainty
        .insert(("games".to_owned(), "server-1".to_owned()), Arc::new(traffic));
    let expected = vec!["NetworkPolicy games/p (Protocol) 1".to_owned()];
    assert_eq!(state(&node), Some((true, expected)));
}
