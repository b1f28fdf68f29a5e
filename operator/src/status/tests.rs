use proptest::prelude::*;
use serde_json::json;
use xdp_crds::{
    NetworkPolicyRestriction, NetworkPolicyState, PolicyState, XdpNodeStateStatus, conditions::node,
    policy::Policy,
};

use super::*;
use crate::store::{AgentReport, Refusal, ReportedState};

const UID: &str = "uid";
const GENERATION: i64 = 4;

fn policy() -> PolicyObject {
    let object = json!({"metadata": {"namespace": "games", "name": "players"}, "spec": {"podSelector": {}}});
    let object: xdp_crds::XdpPolicy = serde_json::from_value(object).unwrap();
    PolicyObject {
        uid: UID.into(),
        generation: GENERATION,
        deleting: false,
        content: Ok(Policy::try_from(&object).unwrap()),
        status: None,
    }
}

fn report(selected: u32, programmed: u32) -> PolicyState {
    PolicyState {
        network_policy: None,
        namespace: "games".into(),
        name: "players".into(),
        uid: UID.into(),
        observed_generation: GENERATION,
        programmed: selected == programmed,
        reason: node::PROGRAMMED.into(),
        message: String::new(),
        pods: Ratio { selected, programmed },
    }
}

fn failing(reason: &str, message: &str) -> PolicyState {
    PolicyState {
        programmed: false,
        reason: reason.into(),
        message: message.into(),
        ..report(1, 0)
    }
}

fn state(report: PolicyState) -> ReportedState {
    ReportedState(Ok(XdpNodeStateStatus {
        policies: vec![report],
        ..XdpNodeStateStatus::default()
    }))
}

fn at(second: i64) -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
}

/// One pod on each node; nodes without a report are `None`.
fn sum(policy: &PolicyObject, nodes: &[(&str, Option<PolicyState>)], now: &Time) -> XdpPolicyStatus {
    let states: BTreeMap<&str, ReportedState> = nodes
        .iter()
        .filter_map(|(node, report)| Some((*node, state(report.clone()?))))
        .collect();
    let targets = nodes.iter().map(|(node, _)| (*node, 1)).collect();
    status(policy, &targets, |node| states.get(node), now)
}

fn programmed(status: &XdpPolicyStatus) -> (&str, &str, &str) {
    let condition = find(&status.conditions, PROGRAMMED).unwrap();
    (&condition.status, &condition.reason, &condition.message)
}

#[test]
fn a_policy_is_programmed_if_every_selected_node_reports_it() {
    let status = sum(
        &policy(),
        &[("a", Some(report(1, 1))), ("b", Some(report(1, 1)))],
        &at(0),
    );
    assert_eq!(
        programmed(&status),
        ("True", "Programmed", "programmed for 2 pods on 2 nodes")
    );
    let all = Ratio {
        selected: 2,
        programmed: 2,
    };
    assert_eq!((status.nodes, status.pods), (all, all));
    let accepted = find(&status.conditions, ACCEPTED).unwrap();
    assert_eq!(
        (accepted.status.as_str(), accepted.observed_generation),
        ("True", Some(GENERATION))
    );
}

#[test]
fn what_a_programmed_policy_does_not_do_is_in_the_message() {
    let limited = |message: &str| PolicyState {
        message: message.into(),
        ..report(1, 1)
    };
    let nodes = [
        ("a", Some(report(1, 1))),
        ("b", Some(limited("packets inside a tunnel are not decided"))),
        ("c", Some(limited("another"))),
    ];
    let status = sum(&policy(), &nodes, &at(0));
    let expected =
        "programmed for 3 pods on 3 nodes; but on b, and on 1 more: packets inside a tunnel are not decided";
    assert_eq!(programmed(&status), ("True", "Programmed", expected));
}

#[test]
fn a_policy_without_pods_is_programmed() {
    let status = sum(&policy(), &[], &at(0));
    assert_eq!(
        programmed(&status),
        ("True", "NoPods", "the policy selects no running pod")
    );
    assert_eq!(status.nodes, Ratio::default());
}

#[test]
fn a_node_without_a_report_is_not_programmed() {
    let status = sum(&policy(), &[("a", Some(report(1, 1))), ("b", None)], &at(0));
    assert_eq!(
        programmed(&status),
        (
            "False",
            "NoNodeState",
            "1 of 2 nodes: b: NoNodeState: node has no XdpNodeState; check that the agent runs on it"
        )
    );
    assert_eq!(
        status.nodes,
        Ratio {
            selected: 2,
            programmed: 1
        }
    );
}

#[test]
fn reports_about_another_generation_or_uid_do_not_count() {
    let older = PolicyState {
        observed_generation: 3,
        ..report(1, 1)
    };
    let namesake = PolicyState {
        uid: "another".into(),
        ..report(1, 1)
    };
    let status = sum(&policy(), &[("a", Some(older)), ("b", Some(namesake))], &at(0));
    assert_eq!(
        programmed(&status),
        (
            "False",
            "Outdated",
            "2 of 2 nodes: a: Outdated: node reports generation 3 instead of 4; \
             b: Outdated: node has not reported the policy yet"
        )
    );
    assert_eq!(
        status.pods,
        Ratio {
            selected: 2,
            programmed: 0
        }
    );
}

#[test]
fn a_node_that_reports_too_few_pods_is_outdated() {
    let policy = policy();
    let one = state(report(1, 1));
    let verdict = verdict(&policy, "a", 3, Some(&one));
    assert_eq!(verdict.pods_programmed, 1);
    let obstacle = verdict.obstacle.unwrap();
    assert_eq!(
        (obstacle.reason.as_str(), obstacle.message.as_str()),
        ("Outdated", "node reports 1 of 3 selected pods")
    );
}

#[test]
fn a_node_that_reports_too_many_pods_does_not_inflate_the_sum() {
    let five = state(report(5, 5));
    let verdict = verdict(&policy(), "a", 3, Some(&five));
    assert_eq!((verdict.pods_programmed, verdict.obstacle), (3, None));
}

#[test]
fn an_invalid_report_counts_as_none_and_names_the_field() {
    let error = xdp_client::object::FieldError {
        field: "status.nics".into(),
        message: "invalid type".into(),
    };
    let state = ReportedState(Err(error));
    let obstacle = verdict(&policy(), "a", 1, Some(&state)).obstacle.unwrap();
    assert_eq!(obstacle.reason, "NoNodeState");
    assert!(obstacle.message.contains("`status.nics`"), "{}", obstacle.message);
}

#[test]
fn the_report_of_an_unreachable_node_does_not_count() {
    let targets = BTreeMap::from([("a", 1), ("b", 1)]);
    let good = state(report(1, 1));
    let report = |node| match node {
        "a" => AgentReport::State(&good),
        _ => AgentReport::Unreachable,
    };
    let status = status(&policy(), &targets, report, &at(0));
    let (is_true, reason, message) = programmed(&status);
    assert_eq!((is_true, reason), ("False", "NodeUnreachable"));
    assert!(
        message.starts_with("1 of 2 nodes: b: NodeUnreachable: node is unreachable"),
        "{message}"
    );
    assert_eq!((status.nodes.programmed, status.pods.programmed), (1, 1));
}

#[test]
fn of_a_contradictory_report_the_worse_part_counts() {
    let odd = PolicyState {
        programmed: false,
        ..report(1, 1)
    };
    let obstacle = verdict(&policy(), "a", 1, Some(&state(odd))).obstacle.unwrap();
    assert_eq!(obstacle.reason, "Pending");
}

#[test]
fn the_worst_reason_is_first_and_a_message_names_at_most_five_nodes() {
    let nodes = [
        ("a", Some(failing("Pending", "soon"))),
        ("b", None),
        ("c", Some(failing("PodNotReady", "pod x"))),
        (
            "d",
            Some(failing("NicProblem", "MTU 9000 of `eth0` is above 3498")),
        ),
        ("e", Some(failing("NewerReason", "only a newer agent knows"))),
        (
            "f",
            Some(PolicyState {
                observed_generation: 1,
                ..report(1, 1)
            }),
        ),
        ("g", Some(report(1, 1))),
    ];
    let status = sum(&policy(), &nodes, &at(0));
    let (_, reason, message) = programmed(&status);
    assert_eq!(reason, "NicProblem");
    let order = "6 of 7 nodes: d: NicProblem: MTU 9000 of `eth0` is above 3498; c: PodNotReady: pod x; \
                 e: NewerReason: only a newer agent knows; b: NoNodeState: node has no XdpNodeState; \
                 check that the agent runs on it; a: Pending: soon; and 1 more";
    assert_eq!(message, order);
}

#[test]
fn a_message_is_bounded_for_any_report() {
    let long = "ä".repeat(100_000);
    let names: Vec<String> = (0..100).map(|number| format!("node-{number}")).collect();
    let nodes: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), Some(failing("NicProblem", &long))))
        .collect();
    let status = sum(&policy(), &nodes, &at(0));
    assert!(programmed(&status).2.len() < 8192);
}

#[test]
fn a_refused_policy_is_neither_accepted_nor_programmed() {
    let refusal = Refusal {
        reason: accepted::INVALID_SPEC,
        message: "too much".into(),
    };
    let policy = PolicyObject {
        content: Err(refusal),
        ..policy()
    };
    let status = sum(&policy, &[], &at(0));
    let accepted = find(&status.conditions, ACCEPTED).unwrap();
    assert_eq!(
        (
            accepted.status.as_str(),
            accepted.reason.as_str(),
            accepted.message.as_str()
        ),
        ("False", "InvalidSpec", "too much")
    );
    assert_eq!(
        (programmed(&status).0, programmed(&status).1),
        ("False", "NotAccepted")
    );
}

#[test]
fn a_policy_is_ready_if_it_is_accepted_and_programmed_and_otherwise_says_what_it_lacks() {
    let refused = PolicyObject {
        content: Err(Refusal {
            reason: accepted::INVALID_SPEC,
            message: "too much".into(),
        }),
        ..policy()
    };
    let (good, bad) = (report(1, 1), failing("NicProblem", "x"));
    for (policy, report, deciding) in [
        (policy(), good.clone(), PROGRAMMED),
        (policy(), bad, PROGRAMMED),
        (refused, good, ACCEPTED),
    ] {
        let status = sum(&policy, &[("a", Some(report))], &at(0));
        let ready = find(&status.conditions, READY).unwrap();
        let copied = Condition {
            type_: READY.into(),
            ..find(&status.conditions, deciding).unwrap().clone()
        };
        assert_eq!(*ready, copied);
        assert_eq!(status.observed_generation, Some(GENERATION));
        let programmed = find(&status.conditions, PROGRAMMED).unwrap();
        let both = deciding == PROGRAMMED && programmed.status == "True";
        assert_eq!(ready.status == "True", both);
    }
}

#[test]
fn a_status_without_the_condition_ready_or_of_another_generation_is_written() {
    let wanted = sum(&policy(), &[], &at(0));
    let mut stored = wanted.clone();
    stored.conditions.retain(|condition| condition.type_ != READY);
    assert!(!is_written(Some(&stored), &wanted));
    let older = XdpPolicyStatus {
        observed_generation: Some(GENERATION - 1),
        ..wanted.clone()
    };
    assert!(!is_written(Some(&older), &wanted));
}

#[test]
fn the_transition_time_stays_while_the_status_stays() {
    let mut policy = policy();
    policy.status = Some(sum(&policy, &[("a", None)], &at(10)));
    let still_false = sum(&policy, &[("a", Some(failing("NicProblem", "x")))], &at(20));
    let since = |status: &XdpPolicyStatus| {
        find(&status.conditions, PROGRAMMED)
            .unwrap()
            .last_transition_time
            .clone()
    };
    assert_eq!(since(&still_false), at(10));
    assert!(!is_written(policy.status.as_ref(), &still_false));
    let now_true = sum(&policy, &[("a", Some(report(1, 1)))], &at(30));
    assert_eq!(since(&now_true), at(30));
}

#[test]
fn conditions_of_other_controllers_are_ignored() {
    let mut stored = sum(&policy(), &[], &at(0));
    let wanted = stored.clone();
    stored.conditions.insert(
        0,
        Condition {
            type_: "Other".into(),
            ..stored.conditions[0].clone()
        },
    );
    assert!(is_written(Some(&stored), &wanted));
    assert!(!is_written(None, &wanted));
}

fn any_report() -> impl Strategy<Value = Option<PolicyState>> {
    let uid = prop_oneof![4 => Just(UID), 1 => Just("other")];
    let generation = prop_oneof![4 => Just(GENERATION), 1 => 0..6i64];
    let fields = (uid, generation, any::<bool>(), 0..4u32, 0..4u32);
    proptest::option::of(
        fields.prop_map(
            |(uid, observed_generation, programmed, selected, done)| PolicyState {
                uid: uid.into(),
                observed_generation,
                programmed,
                pods: Ratio {
                    selected,
                    programmed: done,
                },
                ..report(1, 1)
            },
        ),
    )
}

proptest! {
    #[test]
    fn programmed_is_true_exactly_if_no_selected_node_lacks_a_current_report_of_all_its_pods(
        nodes in prop::collection::vec((1..4u32, any_report()), 0..6)
    ) {
        let policy = policy();
        let names: Vec<String> = (0..nodes.len()).map(|n| format!("n{n}")).collect();
        let counts = nodes.iter().map(|node| node.0);
        let targets: BTreeMap<&str, u32> = names.iter().map(String::as_str).zip(counts).collect();
        let states: BTreeMap<&str, ReportedState> = names.iter().map(String::as_str).zip(&nodes)
            .filter_map(|(name, (_, report))| Some((name, state(report.clone()?)))).collect();
        let found = status(&policy, &targets, |node| states.get(node), &at(0));
        let good = nodes.iter().filter(|(pods, report)| report.as_ref().is_some_and(|r| {
            r.uid == UID && r.observed_generation == GENERATION && r.programmed && r.pods.selected >= *pods
        })).count();
        prop_assert_eq!(found.nodes, Ratio { selected: nodes.len() as u32, programmed: good as u32 });
        prop_assert_eq!(programmed(&found).0 == "True", good == nodes.len());
        prop_assert!(found.pods.programmed <= found.pods.selected);
        prop_assert_eq!(found.pods.selected, nodes.iter().map(|n| n.0).sum::<u32>());
        let stored = PolicyObject { status: Some(found.clone()), ..policy };
        let again = status(&stored, &targets, |node| states.get(node), &at(99));
        prop_assert!(is_written(Some(&found), &again), "a status that is stored is not written again");
    }
}

#[test]
fn a_policy_whose_pods_have_host_ports_says_so_although_it_is_programmed() {
    let noted = PolicyState {
        reason: node::HOST_PORTS.into(),
        message: "1 of 1 pods have a hostPort".into(),
        ..report(1, 1)
    };
    let nodes = [("a", Some(report(1, 1))), ("b", Some(noted.clone()))];
    assert_eq!(
        programmed(&sum(&policy(), &nodes, &at(0))),
        (
            "True",
            "HostPorts",
            "programmed for 2 pods on 2 nodes; but on b: 1 of 1 pods have a hostPort"
        )
    );
    // What is not programmed is more important.
    let nodes = [("a", Some(failing(node::NIC_PROBLEM, "no"))), ("b", Some(noted))];
    assert_eq!(programmed(&sum(&policy(), &nodes, &at(0))).1, node::NIC_PROBLEM);
}

/// The condition about NetworkPolicies: its status, reason and message.
fn honoured(spec: &str, states: &[NetworkPolicyState]) -> Option<(String, String, String)> {
    let object = json!({"metadata": {"namespace": "games", "name": "players"}, "spec": {
        "podSelector": {}, "networkPolicy": spec, "ingress": [{"name": "r", "action": "Redirect"}]}});
    let object: xdp_crds::XdpPolicy = serde_json::from_value(object).unwrap();
    let policy = PolicyObject {
        content: Ok(Policy::try_from(&object).unwrap()),
        ..policy()
    };
    let names = ["a", "b", "c"];
    let reports = states.iter().zip(names).map(|(state, name)| {
        let report = PolicyState {
            network_policy: Some(state.clone()),
            ..report(1, 1)
        };
        (name, Some(report))
    });
    let written = sum(&policy, &reports.collect::<Vec<_>>(), &at(0));
    assert_eq!(programmed(&written).0, "True");
    let condition = find(&written.conditions, NETWORK_POLICY_HONOURED)?.clone();
    Some((condition.status, condition.reason, condition.message))
}

fn restricted(restrictions: &[(&str, &str, u32)]) -> NetworkPolicyState {
    let one = |(policy, reason, pods): &(&str, &str, u32)| NetworkPolicyRestriction {
        policy: (*policy).into(),
        reason: (*reason).into(),
        pods: *pods,
    };
    NetworkPolicyState {
        honoured: true,
        restrictions: restrictions.iter().map(one).collect(),
    }
}

#[test]
fn the_policies_that_keep_packets_from_being_redirected_are_named_with_their_pods() {
    let free = restricted(&[]);
    let (deny, web) = ("NetworkPolicy games/deny-all", "NetworkPolicy games/web");
    assert_eq!(honoured("Honour", &[]), None);
    let (status, reason, _) = honoured("Honour", &[free.clone(), free.clone()]).unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Unrestricted"));
    let nodes = [
        restricted(&[(web, "NotAllowed", 2), (deny, "NotAllowed", 1)]),
        free,
        restricted(&[(deny, "NotAllowed", 3)]),
    ];
    let (status, reason, message) = honoured("Honour", &nodes).unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Restricted"));
    let expected = "NetworkPolicy games/deny-all (NotAllowed): 4 pods; NetworkPolicy games/web (NotAllowed): 2 pods; \
                    packets that they do not certainly allow pass to the stack";
    assert_eq!(message, expected);
    let names: Vec<String> = (0..7)
        .map(|number| format!("NetworkPolicy games/n{number}"))
        .collect();
    let many: Vec<(&str, &str, u32)> = names
        .iter()
        .map(|name| (name.as_str(), "NotAllowed", 1))
        .collect();
    let (.., message) = honoured("Honour", &[restricted(&many)]).unwrap();
    assert!(message.contains("; and 2 more; packets"), "{message}");
}

#[test]
fn network_policies_are_ignored_only_where_agents_say_so() {
    let ignored = NetworkPolicyState {
        honoured: false,
        restrictions: Vec::new(),
    };
    let (status, reason, _) = honoured("Ignore", &[restricted(&[]), ignored]).unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Ignored"));
    let deny = restricted(&[("NetworkPolicy games/deny-all", "NotAllowed", 1)]);
    let (status, reason, message) = honoured("Ignore", &[deny]).unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("True", "NotConsented"));
    let named = [
        "redirect.networkPolicy.allowIgnore",
        "NetworkPolicy games/deny-all",
    ];
    assert!(named.iter().all(|name| message.contains(name)), "{message}");
}
