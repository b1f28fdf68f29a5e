//! Finding targets: which pods are targets, which problems the others get, and which limits of a node apply.

use std::{collections::BTreeMap, net::IpAddr};

use xdp_core::tables::{MAX_RULES, MAX_SLOTS};
use xdp_plan::{
    compile::compile,
    facts::{Link, NodeFacts, NotReady, Pair, Readiness},
    pod::Pod,
    policy::{Policy, RuleAction},
    targets::{Targets, targets},
    testing::fixture,
};

fn policy(name: &str, rules: usize) -> Policy {
    let rules = (0..rules).map(|index| fixture::rule(&format!("r{index}"), RuleAction::Redirect));
    fixture::policy("games", name, rules.collect())
}

fn ip(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    IpAddr::from([10, 0, high, low])
}

fn pod(name: &str, addresses: &[u16]) -> Pod {
    fixture::pod("games", name, addresses.iter().copied().map(ip).collect())
}

fn pair(ifindex: u32, addresses: &[u16]) -> Pair {
    let link = |ifindex, mtu| Link {
        ifindex,
        name: format!("veth{ifindex}"),
        kind: "veth".into(),
        up: true,
        mtu,
        mac: [2; 6],
    };
    Pair {
        host: link(ifindex, 1400),
        pod: link(2, 1500),
        netns_id: 0,
        addresses: addresses.iter().copied().map(ip).collect(),
    }
}

fn find(pods: &[Pod], pairs: Vec<Pair>) -> Targets {
    targets(
        &[policy("players", 1)],
        pods,
        &NodeFacts {
            pairs,
            ..NodeFacts::default()
        },
    )
}

fn reasons(found: &Targets) -> Vec<(&str, &str)> {
    let problems = found.problems.iter();
    problems
        .map(|problem| (problem.object.as_str(), problem.reason.as_str()))
        .collect()
}

#[test]
fn a_pod_is_found_by_the_address_that_its_interface_carries() {
    let found = find(&[pod("a", &[1])], vec![pair(10, &[9]), pair(11, &[1, 77])]);
    assert_eq!((found.targets.len(), found.problems.len()), (1, 0));
    let target = &found.targets[0];
    assert_eq!(
        (target.pair.host.ifindex, target.addresses.as_slice()),
        (11, &[ip(1)][..])
    );
    assert!(target.wants_redirect && !target.wants_peer);
}

#[test]
fn a_pod_without_an_address_is_reported_only_if_a_policy_selects_it() {
    assert_eq!(
        reasons(&find(&[pod("a", &[])], Vec::new())),
        [("Pod games/a", "NoAddress")]
    );
    let elsewhere = Pod {
        namespace: "other".into(),
        ..pod("a", &[])
    };
    assert_eq!(reasons(&find(&[elsewhere], Vec::new())), []);
}

#[test]
fn host_network_and_finished_pods_are_never_targets() {
    let host = Pod {
        host_network: true,
        ..pod("a", &[1])
    };
    let finished = Pod {
        finished: true,
        ..pod("b", &[1])
    };
    let found = find(&[host, finished, pod("c", &[1])], vec![pair(10, &[1])]);
    assert_eq!(reasons(&found), []);
    assert_eq!(
        found
            .targets
            .iter()
            .map(|target| target.pod.name.as_str())
            .collect::<Vec<_>>(),
        ["c"]
    );
}

#[test]
fn an_address_on_no_interface_is_reported_and_is_no_target() {
    let found = find(&[pod("a", &[1, 3])], vec![pair(10, &[1])]);
    assert_eq!(reasons(&found), [("Pod games/a", "NoInterface")]);
    assert_eq!(found.targets[0].addresses, [ip(1)]);
}

#[test]
fn an_address_that_two_pods_claim_belongs_to_neither() {
    let found = find(&[pod("a", &[1]), pod("b", &[1])], vec![pair(10, &[1])]);
    assert_eq!(found.targets, []);
    let twice = "AddressClaimedTwice";
    assert_eq!(reasons(&found), [("Pod games/a", twice), ("Pod games/b", twice)]);
}

#[test]
fn the_first_of_two_objects_with_one_name_wins() {
    let facts = NodeFacts {
        pairs: vec![pair(10, &[1])],
        ..NodeFacts::default()
    };
    let found = targets(
        &[policy("p", 1), policy("p", 2)],
        &[pod("a", &[1]), pod("a", &[2])],
        &facts,
    );
    assert_eq!(
        reasons(&found),
        [("XdpPolicy games/p", "GivenTwice"), ("Pod games/a", "GivenTwice")]
    );
    assert_eq!(found.targets[0].policies[0].rules.len(), 1);
}

#[test]
fn a_pod_on_two_interfaces_is_a_target_on_each() {
    let found = find(&[pod("a", &[1, 2])], vec![pair(11, &[2]), pair(10, &[1])]);
    let indexes: Vec<u32> = found
        .targets
        .iter()
        .map(|target| target.pair.host.ifindex)
        .collect();
    assert_eq!(indexes, [10, 11]);
}

#[test]
fn the_mtu_is_the_smaller_of_both_ends_and_an_unprepared_pod_is_not_ready() {
    let desired = compile(&find(&[pod("a", &[1])], vec![pair(10, &[1])]), &BTreeMap::new());
    assert_eq!(desired.pods[0].mtu, 1400);
    let Readiness::NotReady { reason, .. } = &desired.pods[0].readiness else {
        panic!("ready without being prepared");
    };
    assert_eq!(*reason, NotReady::NotPrepared);
}

#[test]
fn pods_over_the_limit_of_slots_are_refused() {
    let count = MAX_SLOTS as u16 + 1;
    let pods: Vec<Pod> = (0..count)
        .map(|index| pod(&format!("p{index:05}"), &[index]))
        .collect();
    let pairs = (0..count)
        .map(|index| pair(10 + u32::from(index), &[index]))
        .collect();
    let desired = compile(&find(&pods, pairs), &BTreeMap::new());
    assert_eq!(desired.pods.len(), MAX_SLOTS as usize);
    assert_eq!(
        (desired.problems.len(), desired.problems[0].reason.as_str()),
        (1, "MAX_SLOTS")
    );
    assert_eq!(desired.problems[0].object, "Pod games/p01024");
}

#[test]
fn policies_over_the_limit_of_rules_are_refused_on_the_node() {
    const PER_POLICY: usize = 64;
    let count = MAX_RULES as usize / PER_POLICY + 1;
    let policies: Vec<Policy> = (0..count)
        .map(|index| Policy {
            namespace: format!("n{index:03}"),
            ..policy("p", PER_POLICY)
        })
        .collect();
    let pods: Vec<Pod> = (0..count)
        .map(|index| Pod {
            namespace: format!("n{index:03}"),
            ..pod("p", &[index as u16])
        })
        .collect();
    let pairs = (0..count)
        .map(|index| pair(10 + index as u32, &[index as u16]))
        .collect();
    let desired = compile(
        &targets(
            &policies,
            &pods,
            &NodeFacts {
                pairs,
                ..NodeFacts::default()
            },
        ),
        &BTreeMap::new(),
    );
    assert_eq!(desired.rules.len(), MAX_RULES as usize);
    assert_eq!(
        (desired.problems.len(), desired.problems[0].reason.as_str()),
        (1, "MAX_RULES")
    );
    assert!(
        desired.problems[0].message.contains("63 for sure"),
        "{:?}",
        desired.problems
    );
}

#[test]
fn a_policy_without_pods_has_no_counters() {
    let found = targets(&[policy("players", 2)], &[] as &[Pod], &NodeFacts::default());
    let desired = compile(&found, &BTreeMap::new());
    assert_eq!((desired.pods.len(), desired.rules.len()), (0, 0));
}
