//! A policy over a limit is refused with the limit's name. No other policy is.

use rstest::rstest;
use xdp_core::tables::MAX_RULES;
use xdp_plan::{
    compile::Limit,
    desired::Desired,
    policy::{Policy, Protocol, Rule, Sources},
};

use crate::sets::{desired, for_one_pod, listed, pod, policy, rule, scattered, single, v4, v6};

const PROTOCOLS: [Protocol; 5] = [
    Protocol::Tcp,
    Protocol::Udp,
    Protocol::Sctp,
    Protocol::Icmp,
    Protocol::Icmpv6,
];

/// Rules with one port each, for the sources whose number has the rule's bit set.
fn by_bit(bits: u32, port: impl Fn(u32) -> (Protocol, u16)) -> Vec<Rule> {
    let apply = |bit: u32| {
        let from = listed(
            (0..1 << bits)
                .filter(move |number| number >> bit & 1 == 1)
                .map(v4),
        );
        let (protocol, port) = port(bit);
        rule(&format!("bit-{bit}"), from, vec![single(protocol, port)])
    };
    (0..bits).map(apply).collect()
}

fn too_many_rules() -> Vec<Rule> {
    let names = (0..=MAX_RULES).map(|number| format!("r{number}"));
    names.map(|name| rule(&name, Sources::Any, vec![])).collect()
}

fn too_many_classes() -> Vec<Rule> {
    let mut rules = by_bit(16, |bit| (PROTOCOLS[bit as usize % 5], 1000 + bit as u16 / 5));
    rules[15].ports.clear();
    rules
}

fn too_many_overlaps() -> Vec<Rule> {
    let all_but = |number: u32| {
        let mut rule = rule(
            &format!("r{number}"),
            listed(["0.0.0.0/0".parse().unwrap()]),
            vec![single(Protocol::Tcp, 1)],
        );
        if let Sources::Listed(listed) = &mut rule.from
            && let xdp_plan::policy::Source::Block(block) = &mut listed[0]
        {
            block.except.push(v4(2 * number));
        }
        rule
    };
    (0..2_100).map(all_but).collect()
}

fn ports(count: u16) -> Vec<Rule> {
    let ports = (0..count).map(|number| single(Protocol::Tcp, 2 * number + 1));
    vec![rule("r", Sources::Any, ports.collect())]
}

fn one(from: Sources) -> Vec<Rule> {
    vec![rule("r", from, Vec::new())]
}

/// Asserts that the policy in the middle is refused and that the others are programmed.
fn assert_refused(desired: &Desired, limit: Limit) {
    let [problem] = &desired.problems[..] else {
        panic!("{:?}", desired.problems)
    };
    assert_eq!(
        (problem.object.as_str(), problem.reason.as_str()),
        ("XdpPolicy n/b", limit.name())
    );
    assert!(
        problem.message.contains(&limit.value().to_string()),
        "{problem:?}"
    );
    let rules = desired.rules.iter().map(|label| label.policy.as_str());
    assert!(rules.eq(["a", "c"]));
    assert_eq!(desired.pods[0].rules.rules.len(), 2);
}

#[rstest]
#[case(Limit::Sources, one(scattered(131_072)))]
#[case(Limit::SourcesV4, one(scattered(130_000)))]
#[case(Limit::SourcesV6, one(listed((0..65_600).map(|number| v6(2 * number + 1)))))]
#[case(Limit::PortIntervals, ports(512))]
#[case(Limit::PortBlocks, by_bit(15, |bit| (Protocol::Tcp, 1000 + 2 * bit as u16)))]
#[case(Limit::Classes, too_many_classes())]
#[case(Limit::Overlaps, too_many_overlaps())]
#[case(Limit::Rules, too_many_rules())]
fn a_pod_that_exceeds_a_limit_has_one_policy_refused(#[case] limit: Limit, #[case] rules: Vec<Rule>) {
    let small = |name| {
        policy(
            "n",
            name,
            vec![rule(
                "r",
                Sources::Any,
                vec![single(Protocol::Udp, u16::from(name == "a"))],
            )],
        )
    };
    let policies = [small("a"), policy("n", "b", rules), small("c")];
    assert_refused(&for_one_pod(&policies), limit);
}

#[test]
fn just_below_a_limit_everything_is_programmed() {
    let policies = [
        policy("n", "a", one(scattered(128_000))),
        policy("n", "b", ports(511)),
    ];
    assert_eq!(for_one_pod(&policies).problems, []);
}

/// `count` rules that each need a record, for one pod.
fn deciding(namespace: &str, count: u16) -> Policy {
    let rules = (0..count).map(|port| {
        rule(
            &format!("r{port}"),
            Sources::Any,
            vec![single(Protocol::Tcp, port)],
        )
    });
    policy(namespace, "p", rules.collect())
}

#[test]
fn a_node_has_records_for_half_of_the_action_numbers() {
    let mut policies: Vec<Policy> = (0..32)
        .map(|index| deciding(&format!("n{index:02}"), 1_000))
        .collect();
    policies.push(deciding("n32", 767));
    let pods: Vec<_> = (0..33)
        .map(|index| pod(&format!("n{index:02}"), [10, 0, 1, index].into()))
        .collect();
    assert_eq!(desired(&policies, &pods).problems, []);
    policies[7]
        .rules
        .push(rule("one more", Sources::Any, vec![single(Protocol::Udp, 1)]));
    let desired = desired(&policies, &pods);
    let [problem] = &desired.problems[..] else {
        panic!("{:?}", desired.problems)
    };
    assert_eq!(
        (problem.object.as_str(), problem.reason.as_str()),
        ("XdpPolicy n07/p", "MAX_ACTIONS")
    );
    assert_eq!(desired.pods.len(), 32);
}

#[test]
fn each_of_several_policies_over_a_limit_is_refused() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let policies = names.map(|name| {
        policy(
            "n",
            name,
            if "bdf".contains(name) {
                ports(600)
            } else {
                ports(2)
            },
        )
    });
    let desired = for_one_pod(&policies);
    let refused = desired.problems.iter().map(|problem| problem.object.as_str());
    assert!(refused.eq(["XdpPolicy n/b", "XdpPolicy n/d", "XdpPolicy n/f"]));
}

#[test]
fn every_limit_has_name_value_and_remedy() {
    for limit in Limit::ALL {
        assert!(limit.name().starts_with("MAX_") && limit.value() > 0);
        assert!(!limit.counts().is_empty() && !limit.remedy().is_empty());
    }
}
