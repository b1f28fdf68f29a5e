//! Where packets of pods leave.

use xdp_plan::{
    change::Change,
    hook::{AttachPoint, Hook},
    installed::Program,
    nics::{HostLink, NicFacts, Tunnel},
};

use super::node::{DROP, Node, PODS, nic_state, policy, reasons};

const OTHER: u32 = 7;

/// An interface that is not selected.
fn other(name: &str, kind: &str) -> NicFacts {
    NicFacts {
        link: HostLink {
            ifindex: OTHER,
            name: name.to_owned(),
            kind: kind.to_owned(),
            up: true,
            mac: [2, 0, 0, 0, 0, 7],
            ..HostLink::default()
        },
        ..NicFacts::default()
    }
}

fn tunnel() -> NicFacts {
    let mut tunnel = other("flannel.1", "vxlan");
    tunnel.link.tunnel = Some(Tunnel { lower: Some(2) });
    tunnel
}

#[test]
fn what_pods_open_is_noted_on_interfaces_that_are_not_selected_too() {
    let mut node = Node::redirecting();
    node.kernel().nics.push(other("eth9", ""));
    node.converges();
    assert_eq!(node.kernel().program(Hook::NicOut, OTHER), Program::Current);
    assert_eq!(node.kernel().program(Hook::Nic, OTHER), Program::Absent);

    let mut node = Node::new("Redirect", &["{name: pass, action: Pass}"]);
    node.kernel().nics.push(other("eth9", ""));
    node.converges();
    assert_eq!(node.kernel().program(Hook::NicOut, OTHER), Program::Absent);
}

#[test]
fn redirects_pass_while_an_interface_that_is_not_selected_refuses_the_program() {
    let mut node = Node::redirecting();
    node.kernel().nics.push(other("eth9", ""));
    node.kernel().refuses = |change| {
        let point = AttachPoint::new(Hook::NicOut, OTHER);
        matches!(change, Change::Attach { .. }) && change.point() == Some(point)
    };
    let report = node.reconcile();
    assert!(reasons(&report).contains(&("NIC eth9", "NoReplyPath")));
    assert!(policy(&report).message.contains("eth9"), "{:?}", policy(&report));
    node.kernel().refuses = |_| false;
    node.converges();
}

#[test]
fn an_interface_that_is_not_selected_and_goes_prevents_nothing() {
    let mut node = Node::redirecting();
    node.converges();
    node.kernel().nics.push(other("eth9", ""));
    node.kernel().deletes = Some(OTHER);
    let report = node.reconcile();
    assert!(policy(&report).programmed, "{:?}", policy(&report));
    node.converges();
}

#[test]
fn a_pod_that_answers_by_another_interface_gets_no_redirects() {
    let mut node = Node::redirecting();
    let message = "the pod answers by `net1`";
    node.kernel().other_exits.insert(PODS[0], message.to_owned());
    let report = node.reconcile();
    assert_eq!(reasons(&report), [("Pod games/pod0", "SeveralInterfaces")]);
    assert_eq!(policy(&report).reason, "PodNotReady");
    assert!(policy(&report).message.contains(message));
    node.kernel().other_exits.clear();
    node.converges();
}

#[test]
fn a_tunnel_over_a_nic_is_its_problem_and_a_limitation_of_policies_that_drop() {
    for (rule, limited) in [(DROP, true), (super::node::REDIRECT, false)] {
        let mut node = Node::new("Redirect", &[rule]);
        node.kernel().nics.push(tunnel());
        let report = node.reconcile();
        assert_eq!(reasons(&report), [("NIC nic2", "TunnelNotDecided")]);
        assert!(
            nic_state(&report, "nic2").problems[0]
                .message
                .contains("flannel.1")
        );
        let policy = policy(&report);
        assert!(policy.programmed);
        assert_eq!(policy.message.contains("flannel.1"), limited, "{policy:?}");
    }
}

#[test]
fn without_policies_a_tunnel_is_no_problem() {
    let mut node = Node::redirecting();
    node.objects.policies.clear();
    node.kernel().nics.push(tunnel());
    assert_eq!(reasons(&node.reconcile()), []);
}
