//! Interfaces that move, and addresses that others carry, too.

use xdp_plan::{
    change::Change,
    facts::Pair,
    hook::{AttachPoint, Hook, Hook::Nic},
    installed::Program,
    report::Problem,
};

use super::node::{DROP, NICS, Node, PODS, REDIRECT, assert_programmed, reasons};
use crate::reconcile::reconciler::Resync;

/// The second NIC is moved into another namespace: netlink does not list it, and its link is still there.
fn move_away(node: &mut Node) {
    node.kernel().nics.retain(|nic| nic.link.ifindex != NICS[1]);
}

#[test]
fn a_nic_that_is_moved_away_loses_its_programs_and_gets_them_back_when_it_returns() {
    let mut node = Node::redirecting();
    node.converges();
    let nics = node.kernel().nics.clone();
    move_away(&mut node);
    let report = node.reconcile();
    let detached = |hook| {
        (
            Change::Detach {
                point: AttachPoint::new(hook, NICS[1]),
                interface: None,
            },
            true,
        )
    };
    let log = node.kernel().take_log();
    for hook in [Nic, Hook::NicOut] {
        assert!(log.contains(&detached(hook)), "{hook:?}: {log:#?}");
        assert_eq!(node.kernel().program(hook, NICS[1]), Program::Absent);
    }
    assert_programmed(&report);
    node.kernel().nics = nics;
    node.converges();
    assert_eq!(node.kernel().program(Nic, NICS[1]), Program::Current);
}

#[test]
fn nics_that_cannot_be_listed_keep_their_programs() {
    let mut node = Node::redirecting();
    node.converges();
    move_away(&mut node);
    node.kernel().nics_fail = true;
    node.reconcile();
    assert_eq!(node.kernel().program(Nic, NICS[1]), Program::Current);
}

fn other(node: &mut Node, address_of: usize) -> Pair {
    let pairs = &node.kernel().facts.pairs;
    Pair {
        addresses: pairs[address_of].addresses.clone(),
        ..xdp_plan::testing::node::pair(30, Vec::new())
    }
}

#[test]
fn a_claim_of_another_interface_changes_no_table_and_is_a_note() {
    let mut node = Node::new("Redirect", &[REDIRECT, DROP]);
    node.converges();
    let claim = other(&mut node, 0);
    node.kernel().facts.pairs.insert(0, claim);
    node.kernel().take_log();
    let report = node.reconcile();
    assert_eq!(node.kernel().take_log(), []);
    assert!(report.status.policies.iter().all(|policy| policy.programmed));
    assert_eq!(report.status.pods, []);
    let problem_of_pod = ("Pod games/pod0", "AmbiguousAddress");
    assert_eq!(reasons(&report), [problem_of_pod; 2]);
    node.restart(&["nic*"]);
    node.reconcile();
    assert_eq!(node.kernel().take_log(), [], "nor does a restart");
}

#[test]
fn what_one_namespace_hides_is_its_own_problem() {
    let mut node = Node::redirecting();
    node.converges();
    let unread = Problem::new("interface veth10", "AddressesUnreadable", "", "");
    node.kernel().facts.problems = vec![unread];
    let report = node.reconcile();
    assert_eq!(reasons(&report), [("interface veth10", "AddressesUnreadable")]);
    assert!(report.status.policies.iter().all(|policy| policy.programmed));
}

#[test]
fn an_address_that_nothing_asked_for_is_asked_for_when_its_pod_comes() {
    let mut node = Node::redirecting();
    let late = node.objects.pods.pop().unwrap();
    node.converges();
    let reads = node.kernel().full_reads;
    node.objects.pods.push(late);
    node.resync(Resync::Objects);
    assert_eq!(node.kernel().full_reads, reads + 1);
    node.resync(Resync::Objects);
    assert_eq!(node.kernel().full_reads, reads + 1);
    assert_eq!(node.kernel().program(Hook::PodReader, PODS[1]), Program::Current);
}
