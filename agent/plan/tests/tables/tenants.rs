//! Whatever policies and pods one namespace has, those of another keep their rules, within its share.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use xdp_crds::conditions::node;
use xdp_plan::{
    compile::{Compiler, Limit, NamespaceWeight, Shares},
    desired::Desired,
    pod::Pod,
    policy::{Policy, Protocol, Rule, RuleAction, Sources},
    targets::Targets,
    testing::node::compile_all,
};

use crate::{
    nodes::installed,
    sets::{listed, pod, policy, rule, single, targets_of},
};

const VICTIM: &str = "victim";
const ATTACKER: &str = "attacker";

fn pods() -> [Pod; 2] {
    [
        pod(ATTACKER, [10, 0, 0, 1].into()),
        pod(VICTIM, [10, 0, 0, 2].into()),
    ]
}

fn closed(name: &str, port: u16) -> Rule {
    Rule {
        action: RuleAction::Drop,
        ..rule(name, Sources::Any, vec![single(Protocol::Udp, port)])
    }
}

/// The victim's policy. It is younger than all of the attacker's, and last in the order of rules.
fn victim() -> Policy {
    Policy {
        priority: 1000,
        created: Some(Time("2026-11-30T12:00:00Z".parse().unwrap())),
        ..policy(VICTIM, "closed", vec![closed("closed", 9999)])
    }
}

/// Policies of the attacker with this number of rules each.
fn many(count: usize, rules: usize, from: impl Fn(usize, usize) -> Sources) -> Vec<Policy> {
    let policies = (0..count).map(|number| {
        let rules = (0..rules).map(|index| {
            let ports = vec![single(Protocol::Tcp, index as u16)];
            rule(&format!("r{index}"), from(number, index), ports)
        });
        Policy {
            priority: 0,
            ..policy(ATTACKER, &format!("p{number:03}"), rules.collect())
        }
    });
    policies.collect()
}

/// 327 policies with 100 rules, and one with 68: all rules of a node.
fn all_rules() -> Vec<Policy> {
    let mut policies = many(327, 100, |_, _| Sources::Any);
    policies.extend(many(1, 68, |_, _| Sources::Any).into_iter().map(|last| Policy {
        name: "last".into(),
        ..last
    }));
    policies
}

fn nodes_of(policies: &[Policy]) -> Targets {
    targets_of(policies, &pods())
}

fn turn(compiler: &mut Compiler, policies: &[Policy]) -> Desired {
    compiler.compile(&nodes_of(policies), &BTreeMap::new())
}

fn finish(compiler: &mut Compiler, policies: &[Policy]) -> Desired {
    compile_all(compiler, &nodes_of(policies), &BTreeMap::new())
}

/// How many rules of a namespace are programmed.
fn rules_of(desired: &Desired, namespace: &str) -> usize {
    desired
        .rules
        .iter()
        .filter(|label| label.namespace == namespace)
        .count()
}

#[track_caller]
fn assert_programmed(desired: &Desired) {
    assert_eq!(rules_of(desired, VICTIM), 1);
    let of_victim = |object: &str| object.starts_with(&format!("XdpPolicy {VICTIM}/"));
    assert!(!desired.problems.iter().any(|problem| of_victim(&problem.object)));
}

fn joined(policies: &[Policy]) -> Vec<Policy> {
    let mut all = policies.to_vec();
    all.push(victim());
    all.sort_by(|a, b| a.order().cmp(&b.order()));
    all
}

#[test]
fn policies_of_others_do_not_displace_what_is_programmed() {
    let mut compiler = Compiler::default();
    finish(&mut compiler, &[victim()]);
    let desired = finish(&mut compiler, &joined(&all_rules()));
    assert_programmed(&desired);
    let [problem] = &desired.problems[..] else {
        panic!("{} problems", desired.problems.len())
    };
    assert_eq!(
        (problem.object.as_str(), problem.reason.as_str()),
        ("XdpPolicy attacker/p326", "MAX_RULES")
    );
    for part in [
        "`attacker`",
        "is 32768",
        "16384 for sure",
        "32767 now",
        "32768 with this policy",
    ] {
        assert!(problem.message.contains(part), "{part}: {}", problem.message);
    }
}

#[test]
fn room_that_was_borrowed_is_given_back_to_its_owner_and_no_more() {
    let mut compiler = Compiler::default();
    let full = all_rules();
    assert_eq!(finish(&mut compiler, &full).problems, []);
    let desired = finish(&mut compiler, &joined(&full));
    assert_programmed(&desired);
    assert_eq!(rules_of(&desired, ATTACKER), 32_768 - 100);
    // The victim's rules are gone, so everything may be borrowed again.
    assert_eq!(finish(&mut compiler, &full).problems, []);
}

#[test]
fn what_is_programmed_stays_so_after_a_restart() {
    let policies = joined(&many(3, 4, |_, _| Sources::Any));
    let before = finish(&mut Compiler::default(), &policies);
    let model = installed(&before);
    let mut restarted = Compiler::default();
    restarted.adopt(&model.installed);
    let desired = finish(&mut restarted, &joined(&all_rules()));
    assert_programmed(&desired);
}

#[test]
fn weights_and_a_cap_of_the_administrator_decide() {
    let weights = [NamespaceWeight {
        namespace: VICTIM.into(),
        weight: 3,
    }];
    let mut compiler = Compiler::new(Shares::new(weights, 50));
    let desired = finish(&mut compiler, &joined(&all_rules()));
    assert_programmed(&desired);
    assert_eq!(rules_of(&desired, ATTACKER), 68 + 163 * 100);
}

/// 500 policies with 50 rules of 24 networks each, most of them short prefixes, for one pod.
fn heavy() -> Vec<Policy> {
    let mut state = 1_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let mut network = move || {
        let prefix = 1 + (random() % 24) as u8;
        ipnet::Ipv4Net::new(random().into(), prefix)
            .unwrap()
            .trunc()
            .into()
    };
    let mut sources = Vec::new();
    for _ in 0..500 * 50 {
        sources.push(listed((0..24).map(|_| network())));
    }
    let policies = many(500, 50, |number, index| sources[number * 50 + index].clone());
    let named = policies.into_iter().map(|one| Policy {
        name: format!("heavy-{}", one.name),
        ..one
    });
    named.collect()
}

#[test]
fn another_tenants_rule_is_compiled_in_the_first_turn_and_each_turn_is_short() {
    let mut compiler = Compiler::default();
    let own = heavy();
    let (targets, both) = (nodes_of(&own), nodes_of(&joined(&own)));
    compiler.compile(&targets, &BTreeMap::new());
    let mut longest = Duration::ZERO;
    let mut turns = 0;
    loop {
        let started = Instant::now();
        let desired = compiler.compile(&both, &BTreeMap::new());
        println!("{:?}", started.elapsed());
        longest = longest.max(started.elapsed());
        turns += 1;
        assert_programmed(&desired);
        if !desired.pending {
            assert!(rules_of(&desired, ATTACKER) > 0, "what fits is programmed");
            break;
        }
    }
    println!("{turns} turns, the longest {longest:?}");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

#[test]
fn a_namespace_keeps_its_rules_until_the_new_ones_are_compiled() {
    let mut compiler = Compiler::default();
    let before = policy(ATTACKER, "before", vec![closed("closed", 1)]);
    finish(&mut compiler, std::slice::from_ref(&before));
    let all = [vec![before], heavy()].concat();
    let desired = turn(&mut compiler, &all);
    assert!(desired.pending);
    assert_eq!(rules_of(&desired, ATTACKER), 1);
    assert_eq!(desired.rules.len(), 1);
    assert!(
        desired
            .problems
            .iter()
            .any(|problem| problem.reason == node::PENDING)
    );
    assert!(
        !desired
            .problems
            .iter()
            .any(|problem| problem.object == "XdpPolicy attacker/before")
    );
    let model = installed(&desired);
    let mut restarted = Compiler::default();
    restarted.adopt(&model.installed);
    let again = turn(&mut restarted, &all);
    assert!(again.pending);
    assert_eq!(again.pods[0].rules.rules.len(), 1);
    assert_eq!(xdp_plan::diff::diff(&again, &model.installed), []);
}

#[test]
fn while_a_namespace_waits_its_room_is_not_given_away() {
    let other = || {
        let own = many(4, 100, |_, _| Sources::Any).into_iter();
        own.map(|one| Policy {
            namespace: VICTIM.into(),
            ..one
        })
    };
    let with = |own: &[Policy], count: usize| {
        let mut all = own.to_vec();
        all.extend(other().take(count));
        all.sort_by(|a, b| a.order().cmp(&b.order()));
        all
    };
    let mut compiler = Compiler::default();
    let own = many(326, 100, |_, _| Sources::Any);
    let before = finish(&mut compiler, &with(&own, 1));
    assert_eq!(
        (rules_of(&before, ATTACKER), rules_of(&before, VICTIM)),
        (32_600, 100)
    );
    // The one namespace changes so much that it waits, and the other one wants more.
    let changed: Vec<Policy> = heavy().into_iter().chain(own).collect();
    let desired = turn(&mut compiler, &with(&changed, 4));
    assert!(desired.pending);
    assert_eq!(
        (rules_of(&desired, ATTACKER), rules_of(&desired, VICTIM)),
        (32_600, 100)
    );
    let mut model = installed(&before);
    model.apply(&xdp_plan::diff::diff(&desired, &model.installed));
    assert_eq!(rules_of(&finish(&mut compiler, &with(&changed, 4)), VICTIM), 400);
}

/// The borrower has to compile again before it can give room back.
#[test]
fn in_no_turn_are_the_tables_asked_for_more_than_there_is() {
    let network = |third: u32| listed([ipnet::Ipv4Net::new((third << 8).into(), 24).unwrap().into()]);
    let wanted = many(150, 100, |number, _| network(number as u32));
    let wanted = wanted.into_iter().map(|one| Policy {
        namespace: VICTIM.into(),
        created: victim().created,
        ..one
    });
    let full = joined(&many(327, 100, |number, index| {
        network((number * 100 + index) as u32)
    }));
    let mut compiler = Compiler::default();
    let before = finish(&mut compiler, &full);
    let mut model = installed(&before);
    let mut all = full.clone();
    all.extend(wanted);
    all.sort_by(|a, b| a.order().cmp(&b.order()));
    for number in 1.. {
        let desired = turn(&mut compiler, &all);
        assert!(
            desired.rules.len() <= Limit::Rules.value(),
            "turn {number}: {}",
            desired.rules.len()
        );
        assert!(rules_of(&desired, VICTIM) >= 1);
        for _ in 0..5 {
            model.apply(&xdp_plan::diff::diff(&desired, &model.installed));
            let slots = model.installed.pods.iter();
            let mut slots = slots.filter(|(_, label)| label.identity.namespace == VICTIM);
            assert!(
                slots.all(|(slot, _)| model.installed.words.contains_key(slot)),
                "turn {number}"
            );
        }
        if !desired.pending {
            assert_eq!(rules_of(&desired, VICTIM), 15_001);
            println!("{number} turns");
            return;
        }
    }
}

#[test]
fn pods_with_the_same_rules_share_them_after_a_restart() {
    let own = many(3, 4, |_, _| Sources::Any);
    let mut second = pod(ATTACKER, [10, 0, 0, 3].into());
    second.name = "q".into();
    let pods = [pods()[0].clone(), second];
    let targets = targets_of(&own, &pods);
    let desired = compile_all(&mut Compiler::default(), &targets, &BTreeMap::new());
    let mut restarted = Compiler::default();
    restarted.adopt(&installed(&desired).installed);
    let changed = targets_of(&[own, heavy()].concat(), &pods);
    let waiting = restarted.compile(&changed, &BTreeMap::new());
    assert!(waiting.pending);
    assert!(std::sync::Arc::ptr_eq(
        &waiting.pods[0].rules,
        &waiting.pods[1].rules
    ));
    assert_eq!(*waiting.pods[0].rules, *desired.pods[0].rules);
}

/// Comparing each with each would take minutes.
#[test]
fn sources_that_look_alike_are_distinguished_at_once() {
    let alike = |number: usize, index: usize| {
        let network = |third: u32| ipnet::Ipv4Net::new((third << 8).into(), 24).unwrap().into();
        let mut nets: Vec<_> = (0..22_u32).map(|one| network(2 * one)).collect();
        nets.push(network(100 + 2 * (number * 100 + index) as u32));
        nets.push(network(1 << 20));
        listed(nets)
    };
    let own = many(327, 100, alike);
    let started = Instant::now();
    finish(&mut Compiler::default(), &own);
    println!("{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_mins(1));
}

#[test]
fn policies_without_a_target_have_no_counters() {
    let mut policies = many(2, 2, |_, _| Sources::Any);
    policies[1].selector = policy("n", "p", vec![]).selector;
    let other = [pod("elsewhere", [10, 0, 0, 1].into())];
    let desired = Compiler::default().compile(&targets_of(&policies, &other), &BTreeMap::new());
    assert_eq!((desired.rules.len(), desired.pods.len()), (0, 0));
}

/// Rules of the attacker that need as much as they can of one table or another.
fn hostile() -> impl Strategy<Value = Vec<Policy>> {
    let one = (0..4_u8, 1..40_usize, 1..101_usize);
    prop::collection::vec(one, 1..5).prop_map(|parts| {
        let parts = parts
            .into_iter()
            .enumerate()
            .flat_map(|(part, (kind, count, rules))| {
                let from = move |number: usize, index: usize| {
                    let distinct = (number * 101 + index) as u32;
                    let network = |number: u32| ipnet::Ipv4Net::new((number << 8).into(), 24).unwrap().into();
                    match kind {
                        0 => Sources::Any,
                        1 => listed([network(distinct)]),
                        2 => listed((0..8).map(|one| network(distinct * 8 + 2 * one))),
                        _ => listed((0..12).filter(|bit| distinct >> bit & 1 == 1).map(network)),
                    }
                };
                many(count, rules, from).into_iter().map(move |one| Policy {
                    name: format!("{part}-{}", one.name),
                    ..one
                })
            });
        parts.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// In whatever order they come, with or without a restart in between.
    #[test]
    fn no_policies_of_one_namespace_change_the_rules_of_another(
        first in hostile(), second in hostile(), victim_first in any::<bool>(), restarts in any::<bool>(),
    ) {
        let alone = finish(&mut Compiler::default(), &[victim()]);
        let mut compiler = Compiler::default();
        let before = if victim_first { joined(&first) } else { first };
        let before = finish(&mut compiler, &before);
        if restarts {
            compiler = Compiler::default();
            compiler.adopt(&installed(&before).installed);
        }
        let desired = finish(&mut compiler, &joined(&second));
        assert_programmed(&desired);
        let rules = |desired: &Desired| {
            let mut pods = desired.pods.iter();
            let pod = pods.find(|pod| pod.identity.namespace == VICTIM).unwrap();
            (*pod.rules).clone()
        };
        prop_assert_eq!(rules(&desired), rules(&alone));
        prop_assert!(desired.rules.len() <= Limit::Rules.value());
    }
}
