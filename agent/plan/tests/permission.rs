//! The administrator's permission to redirect, applied to policies and seen in the tables.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use rstest::rstest;
use xdp_core::tables::PodBlock;
use xdp_plan::{
    compile::compile,
    diff::diff,
    facts::NodeFacts,
    installed::Installed,
    permission::{self, NamespaceLabels},
    pod::Pod,
    policy::{Delivery, Enforcement, Policy, RedirectNamespaces, RuleAction},
    resolve::NodePolicy,
    targets::{Targets, targets},
    testing::{fixture, model::TableModel, node::pair},
};

fn address() -> IpAddr {
    IpAddr::from([10, 0, 0, 5])
}

fn policy(name: &str, action: RuleAction) -> Policy {
    fixture::policy("games", name, vec![fixture::rule("all", action)])
}

fn pods() -> Vec<Arc<Pod>> {
    vec![Arc::new(fixture::pod("games", "server-0", vec![address()]))]
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn namespaces(pairs: &[(&str, &str)]) -> NamespaceLabels {
    BTreeMap::from([("games".to_owned(), labels(pairs))])
}

fn selector() -> RedirectNamespaces {
    "{matchLabels: {redirect: allowed}}".parse().unwrap()
}

fn node_policy(policy: &Policy) -> NodePolicy {
    NodePolicy {
        namespace: policy.namespace.clone(),
        name: policy.name.clone(),
        uid: String::new(),
        generation: 0,
        policy: Some(Arc::new(policy.clone())),
        obstacle: None,
    }
}

/// Applies the permission, and returns the policies, and the reasons of problems by policy.
fn applied(policies: &[Policy], namespaces: &NamespaceLabels) -> (Vec<Arc<Policy>>, Vec<(String, String)>) {
    let mut node_policies: Vec<NodePolicy> = policies.iter().map(node_policy).collect();
    let mut policies: Vec<Arc<Policy>> = policies.iter().cloned().map(Arc::new).collect();
    permission::apply(&mut policies, &mut node_policies, &selector(), namespaces);
    for (policy, node_policy) in policies.iter().zip(&node_policies) {
        assert_eq!(node_policy.policy.as_ref(), Some(policy));
    }
    let problems = permission::problems(&node_policies, &pods());
    let named = problems
        .into_iter()
        .map(|problem| (problem.object, problem.reason));
    (policies, named.collect())
}

fn found(policies: &[Arc<Policy>]) -> Targets {
    let facts = NodeFacts {
        pairs: vec![pair(12, vec![address()])],
        ..NodeFacts::default()
    };
    targets(policies, &pods(), &facts)
}

/// Returns the flags of the pod's block in the tables.
fn flags(policies: &[Arc<Policy>]) -> u16 {
    let desired = compile(&found(policies), &BTreeMap::new());
    let mut model = TableModel::default();
    model.apply(&diff(&desired, &Installed::default()));
    let (_, block) = model.installed.blocks.pods.iter().next().unwrap();
    block.flags
}

#[rstest]
#[case(Delivery::Redirect)]
#[case(Delivery::Peer)]
fn without_permission_nothing_is_prepared_and_the_block_says_so(#[case] delivery: Delivery) {
    let redirecting = Policy {
        delivery,
        ..policy("players", RuleAction::Redirect)
    };
    let (permitted, problems) = applied(
        std::slice::from_ref(&redirecting),
        &namespaces(&[("redirect", "allowed")]),
    );
    let target = &found(&permitted).targets[0];
    assert!(target.wants_redirect || target.wants_peer);
    assert_eq!(problems, []);
    assert_eq!(flags(&permitted) & PodBlock::NOT_PERMITTED, 0);

    let (refused, problems) = applied(&[redirecting], &namespaces(&[("redirect", "no")]));
    let target = &found(&refused).targets[0];
    assert!(!target.wants_redirect && !target.wants_peer);
    let expected = ("XdpPolicy games/players".to_owned(), "NotPermitted".to_owned());
    assert_eq!(problems, [expected]);
    assert_ne!(flags(&refused) & PodBlock::NOT_PERMITTED, 0);
}

#[test]
fn policies_that_do_not_redirect_need_no_permission() {
    let audit = Policy {
        enforcement: Enforcement::Audit,
        ..policy("audit", RuleAction::Redirect)
    };
    let others = [
        policy("drop", RuleAction::Drop),
        policy("pass", RuleAction::Pass),
        audit,
    ];
    let (refused, problems) = applied(&others, &namespaces(&[]));
    assert_eq!(problems, []);
    assert_eq!(flags(&refused) & PodBlock::NOT_PERMITTED, 0);
}

#[test]
fn a_namespace_whose_labels_are_unknown_may_not_redirect() {
    let (_, problems) = applied(
        &[policy("players", RuleAction::Redirect)],
        &NamespaceLabels::new(),
    );
    assert_eq!(problems.len(), 1);
}

#[test]
fn a_later_permission_is_given_and_taken_back() {
    let mut policies = vec![Arc::new(policy("players", RuleAction::Redirect))];
    for (value, permitted) in [("no", false), ("allowed", true), ("no", false)] {
        let namespaces = namespaces(&[("redirect", value)]);
        permission::apply(&mut policies, &mut [], &selector(), &namespaces);
        assert_eq!(policies[0].redirect_permitted, permitted, "{value}");
    }
}

#[test]
fn without_a_cluster_every_namespace_has_its_name_as_a_label() {
    let given = namespaces(&[("redirect", "allowed")]);
    let other = Policy {
        namespace: "web".to_owned(),
        ..policy("site", RuleAction::Redirect)
    };
    let policies = [policy("players", RuleAction::Redirect), other].map(Arc::new);
    let found = permission::without_cluster(&given, &policies);
    let name = "kubernetes.io/metadata.name";
    assert_eq!(
        found,
        BTreeMap::from([
            (
                "games".to_owned(),
                labels(&[(name, "games"), ("redirect", "allowed")])
            ),
            ("web".to_owned(), labels(&[(name, "web")])),
        ])
    );
    let by_name: RedirectNamespaces = format!("{{matchLabels: {{{name}: web}}}}").parse().unwrap();
    let permitted: BTreeSet<&str> = found
        .iter()
        .filter(|(_, labels)| by_name.include(Some(labels)))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(permitted, BTreeSet::from(["web"]));
}
