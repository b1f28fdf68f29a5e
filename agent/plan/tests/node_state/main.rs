//! The node's status: what is programmed according to the tables that were read back, and why the rest is
//! not.

mod damages;
mod fixture;
mod network_policy;

use std::sync::Arc;

use fixture::{Node, not_ready, pod, policy, problem};
use rstest::rstest;
use xdp_crds::{NicMode, Protocol, Ratio, conditions::node};
use xdp_plan::{
    facts::{NotReady, Readiness},
    node_state::{API_SERVER, MAX_LISTED},
    pod::Pod,
    policy::{Delivery, PortSet, RuleAction},
    report::Problem,
};

#[test]
fn a_policy_that_is_programmed_for_all_its_pods_on_all_nics_is_programmed() {
    let state = Node::default().state();
    let policy = &state.policies[0];
    assert_eq!(
        (policy.programmed, policy.reason.as_str()),
        (true, node::PROGRAMMED)
    );
    assert_eq!(
        policy.pods,
        Ratio {
            selected: 2,
            programmed: 2
        }
    );
    assert_eq!((state.pods.len(), state.problems.len()), (0, 0));
}

#[rstest]
#[case::none_selected(Some(&[][..]), NicMode::Native, node::NO_NIC)]
#[case::unknown(None, NicMode::Native, node::NIC_PROBLEM)]
#[case::without_program(Some(&["eth0"][..]), NicMode::None, node::NIC_PROBLEM)]
#[case::generic(Some(&["eth0"][..]), NicMode::Generic, node::NIC_PROBLEM)]
#[case::foreign(Some(&["eth0"][..]), NicMode::Foreign, node::NIC_PROBLEM)]
#[case::one_of_two_is_gone(Some(&["eth0", "eth1"][..]), NicMode::Native, node::NIC_PROBLEM)]
fn no_pod_is_programmed_unless_every_selected_nic_is_native(
    #[case] selected: Option<&[&str]>,
    #[case] mode: NicMode,
    #[case] expected: &str,
) {
    let mut node = Node::default();
    node.nics[0].mode = mode;
    node.selected = selected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    let (reason, _, programmed) = node.policy_state();
    assert_eq!((reason.as_str(), programmed), (expected, 0));
}

#[test]
fn the_message_names_the_problem_of_the_nic() {
    let mut node = Node::default();
    node.nics[0].mode = NicMode::None;
    node.nics[0].problems = vec![Problem::of_nic(
        "eth0",
        "MtuTooLarge",
        "MTU 9000 is too large",
        "lower it",
    )];
    let message = node.policy_state().1;
    assert!(
        message.starts_with("NIC eth0: MtuTooLarge: MTU 9000"),
        "{message}"
    );
}

#[test]
fn a_pod_that_takes_no_redirects_counts_only_against_policies_that_redirect() {
    let readiness = not_ready(NotReady::NoNdoXmit);
    let node = Node {
        readiness: readiness.clone(),
        ..Node::default()
    };
    let (reason, message, programmed) = node.policy_state();
    assert_eq!((reason.as_str(), programmed), (node::POD_NOT_READY, 0));
    assert!(
        message.starts_with("2 of 2 pods; Pod games/server-1: NoNdoXmit"),
        "{message}"
    );
    let pods = node.state().pods;
    assert_eq!((pods.len(), pods[0].reason.as_str()), (2, "NoNdoXmit"));

    let node = Node {
        readiness,
        ..Node::with(policy(1, RuleAction::Drop))
    };
    assert_eq!(node.policy_state().0, node::PROGRAMMED);
    assert_eq!(node.state().pods, []);
}

#[test]
fn each_delivery_has_its_own_readiness() {
    let by = |delivery, redirect: Readiness, peer: Readiness| {
        let mut policy = policy(1, RuleAction::Redirect);
        policy.delivery = delivery;
        let node = Node {
            readiness: redirect,
            peer,
            ..Node::with(policy)
        };
        node.policy_state().0
    };
    let unready = || not_ready(NotReady::PeerRefused);
    assert_eq!(
        by(Delivery::Redirect, Readiness::Ready, unready()),
        node::PROGRAMMED
    );
    assert_eq!(by(Delivery::Peer, unready(), Readiness::Ready), node::PROGRAMMED);
    assert_eq!(
        by(Delivery::Redirect, unready(), Readiness::Ready),
        node::POD_NOT_READY
    );
    assert_eq!(
        by(Delivery::Peer, Readiness::Ready, unready()),
        node::POD_NOT_READY
    );
}

#[test]
fn without_a_reply_path_neither_delivery_is_programmed_and_the_pod_has_the_reason() {
    for delivery in [Delivery::Redirect, Delivery::Peer] {
        let mut policy = policy(1, RuleAction::Redirect);
        policy.delivery = delivery;
        let node = Node {
            reply_path: not_ready(NotReady::NoReplyPath),
            ..Node::with(policy)
        };
        assert_eq!(node.policy_state().0, node::POD_NOT_READY);
        let pods = node.state().pods;
        assert_eq!((pods.len(), pods[0].reason.as_str()), (2, "NoReplyPath"));
    }
}

#[test]
fn a_policy_that_drops_says_where_it_is_stateless() {
    let message = |action, reply_path| {
        let node = Node {
            reply_path,
            ..Node::with(policy(1, action))
        };
        let (reason, message, programmed) = node.policy_state();
        assert_eq!((reason.as_str(), programmed), (node::PROGRAMMED, 2));
        message
    };
    let refused = || not_ready(NotReady::NoReplyPath);
    let said = message(RuleAction::Drop, refused());
    assert!(
        said.starts_with("2 of 2 pods; Pod games/server-1: its rules are stateless"),
        "{said}"
    );
    assert_eq!(message(RuleAction::Pass, refused()), "");
    assert_eq!(message(RuleAction::Drop, Readiness::Ready), "");
    assert_eq!(message(RuleAction::Drop, not_ready(NotReady::NotPrepared)), "");
}

#[test]
fn a_pod_without_an_interface_is_named_and_the_others_are_programmed() {
    let node = Node {
        with_interface: vec![1],
        ..Node::default()
    };
    let (reason, message, programmed) = node.policy_state();
    assert_eq!((reason.as_str(), programmed), (node::POD_NOT_READY, 1));
    assert!(
        message.starts_with("1 of 2 pods; Pod games/server-2: NoInterface"),
        "{message}"
    );
}

#[test]
fn a_policy_over_a_limit_is_refused_and_its_pods_have_no_problem() {
    let mut policy = policy(600, RuleAction::Redirect);
    for (rule, port) in policy.rules.iter_mut().zip(0..) {
        rule.ports[0].ports = PortSet::Range(2 * port..=2 * port);
    }
    let node = Node::with(policy);
    let (reason, message, programmed) = node.policy_state();
    assert_eq!((reason.as_str(), programmed), (node::LIMIT_EXCEEDED, 0));
    assert!(message.contains("MAX_PORT_INTERVALS"), "{message}");
    assert_eq!(node.state().pods, []);
}

#[rstest]
#[case(node::INVALID_SPEC)]
#[case(node::PEERS_PENDING)]
fn a_newer_version_that_cannot_be_programmed_is_reported(#[case] expected: &str) {
    let mut node = Node::default();
    node.policy.obstacle = Some(problem("XdpPolicy games/players", expected));
    let (reason, message, programmed) = node.policy_state();
    assert_eq!(
        (reason.as_str(), message.as_str(), programmed),
        (expected, "it broke; fix it", 0)
    );
}

#[test]
fn the_worst_of_several_reasons_is_reported() {
    let mut node = Node {
        with_interface: vec![1],
        ..Node::default()
    };
    node.nics[0].mode = NicMode::None;
    assert_eq!(node.policy_state().0, node::NIC_PROBLEM);
    node.policy.obstacle = Some(problem("XdpPolicy games/players", node::INVALID_SPEC));
    assert_eq!(node.policy_state().0, node::INVALID_SPEC);
}

#[test]
fn tables_that_cannot_be_read_back_are_not_programmed() {
    let node = Node {
        read_error: Some(problem("interfaces", "NetlinkFailed")),
        ..Node::default()
    };
    let (reason, _, programmed) = node.policy_state();
    assert_eq!((reason.as_str(), programmed), (node::KERNEL_REFUSED, 0));
}

#[test]
fn a_policy_without_running_pods_on_this_node_is_not_listed() {
    let without = |change: fn(&mut Pod)| {
        let mut node = Node::default();
        node.pods.iter_mut().map(Arc::make_mut).for_each(change);
        node.state().policies
    };
    assert_eq!(without(|pod| pod.finished = true), []);
    assert_eq!(without(|pod| pod.host_network = true), []);
    assert_eq!(without(|pod| pod.addresses.clear()), []);
    assert_eq!(without(|pod| pod.namespace = "other".into()), []);
}

#[test]
fn problems_are_listed_once_and_those_of_the_api_server_connection_are_omitted() {
    let problems = [
        problem("NIC eth0", "MtuTooLarge"),
        problem("NICs", "NoSuchNic"),
        problem("Pod games/server-1", "NoNdoXmit"),
        problem("XdpPolicy games/players", "MAX_RULES"),
        problem("XdpPolicy games/others", "BadPort"),
        problem(&format!("{API_SERVER}: Pods"), "Unreachable"),
    ];
    let node = Node {
        problems: problems.into(),
        ..Node::default()
    };
    let listed = node.state().problems;
    let listed: Vec<&str> = listed.iter().map(|problem| problem.object.as_str()).collect();
    assert_eq!(listed, ["NICs", "XdpPolicy games/others"]);
}

#[test]
fn the_status_is_bounded() {
    let mut long = problem("NICs", "NoSuchNic");
    long.message = "ä".repeat(10_000);
    let many = (0..500).map(|index| problem(&format!("thing {index}"), "Broken"));
    let node = Node {
        pods: (1..=200).map(|last| pod(last).into()).collect(),
        problems: many.chain([long]).collect(),
        ..Node::default()
    };
    let state = node.state();
    assert_eq!((state.pods.len(), state.problems.len()), (MAX_LISTED, MAX_LISTED));
    assert!(
        state
            .problems
            .iter()
            .all(|problem| problem.message.chars().count() <= 501)
    );
    assert_eq!(state.policies[0].pods.selected, 200);
}

#[test]
fn a_policy_without_permission_to_redirect_says_so_and_so_do_its_pods() {
    let mut policy = policy(1, RuleAction::Redirect);
    policy.redirect_permitted = false;
    let node = Node::with(policy);
    let (reason, message, programmed) = node.policy_state();
    assert_eq!((reason.as_str(), programmed), (node::NOT_PERMITTED, 0));
    assert!(
        message.contains("does not permit Redirect in the namespace `games` (`redirect.namespaceSelector`)"),
        "{message}"
    );
    let pods = node.state().pods;
    assert_eq!((pods.len(), pods[0].reason.as_str()), (2, "NotPermitted"));
}

#[test]
fn a_policy_that_redirects_nothing_needs_no_permission() {
    let mut policy = policy(1, RuleAction::Drop);
    policy.redirect_permitted = false;
    let node = Node::with(policy);
    assert_eq!(node.policy_state().0, node::PROGRAMMED);
    assert_eq!(node.state().pods, []);
}

#[test]
fn a_policy_whose_pods_have_host_ports_is_programmed_and_says_so() {
    let mut node = Node::default();
    let pod = Arc::make_mut(&mut node.pods[1]);
    pod.host_ports = [(Protocol::Tcp, 8080), (Protocol::Udp, 53)].into();
    let policy = &node.state().policies[0];
    assert_eq!(
        (policy.programmed, policy.reason.as_str(), policy.pods.programmed),
        (true, node::HOST_PORTS, 2)
    );
    assert_eq!(
        policy.message,
        "1 of 2 pods have a hostPort; Pod games/server-2: TCP 8080, UDP 53: packets to the node's address and this \
         port meet no rule"
    );
    // What is not programmed is more important.
    node.with_interface = vec![1];
    assert_eq!(node.policy_state().0, node::POD_NOT_READY);
}
