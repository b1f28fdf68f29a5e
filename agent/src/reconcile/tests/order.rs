//! Programs of other owners in the agent's hooks.

use xdp_plan::{
    attach::{FOREIGN_PROGRAM_FIRST, MOST_MOVES},
    change::Change,
    hook::{AttachPoint, Hook},
    installed::OtherProgram,
};

use super::node::{NICS, Node, PODS, policy, reasons};

const OTHER: OtherProgram = OtherProgram::Program { id: 7 };

/// The hooks that packets of a redirecting pod and their replies pass, by the object of a problem.
const HOOKS: [(Hook, u32, &str); 3] = [
    (Hook::NicOut, NICS[0], "NIC nic2"),
    (Hook::PodIn, PODS[1], "Pod games/pod1"),
    (Hook::PodOut, PODS[1], "Pod games/pod1"),
];

fn come_in_front(node: &mut Node, hook: Hook, ifindex: u32) {
    let point = AttachPoint::new(hook, ifindex);
    node.kernel().others.insert(point, vec![OTHER]);
}

#[test]
fn a_program_that_is_behind_another_is_moved_in_front() {
    for (hook, ifindex, _) in HOOKS {
        let mut node = Node::redirecting();
        come_in_front(&mut node, hook, ifindex);
        node.converges();
        come_in_front(&mut node, hook, ifindex);
        let report = node.reconcile();
        assert_eq!(reasons(&report), Vec::new(), "{hook:?}");
        let mut log = node.kernel().take_log();
        // What pods opened while the program saw nothing is noted again.
        log.retain(|(change, _)| !matches!(change, Change::NoteConnections { .. }));
        assert!(matches!(&log[..], [(Change::MoveFirst { .. }, true)]), "{log:?}");
        node.converges();
    }
}

#[test]
fn redirects_pass_while_a_program_cannot_be_moved_in_front() {
    for (hook, ifindex, object) in HOOKS {
        let mut node = Node::redirecting();
        node.converges();
        come_in_front(&mut node, hook, ifindex);
        node.kernel().refuses = |change| matches!(change, Change::MoveFirst { .. });
        let report = node.reconcile();
        let problems = reasons(&report);
        for reason in ["NoReplyPath", FOREIGN_PROGRAM_FIRST] {
            assert!(problems.contains(&(object, reason)), "{hook:?}: {problems:?}");
        }
        let policy = policy(&report);
        assert_eq!(
            (policy.programmed, policy.reason.as_str()),
            (false, "PodNotReady")
        );
        assert!(
            policy.message.contains("another program runs before"),
            "{policy:?}"
        );

        node.kernel().others.clear();
        node.converges();
    }
}

#[test]
fn a_program_that_always_comes_back_in_front_is_overtaken_only_so_often() {
    let mut node = Node::redirecting();
    node.converges();
    for _ in 0..MOST_MOVES {
        come_in_front(&mut node, Hook::PodOut, PODS[0]);
        assert_eq!(reasons(&node.reconcile()), []);
    }
    come_in_front(&mut node, Hook::PodOut, PODS[0]);
    for _ in 0..3 {
        node.kernel().take_log();
        let report = node.reconcile();
        assert!(reasons(&report).contains(&("Pod games/pod0", "NoReplyPath")));
        let log = node.kernel().take_log();
        assert!(log.iter().all(|(change, _)| change.is_of_tables()), "{log:?}");
    }
    node.kernel().others.clear();
    node.converges();
}

#[test]
fn another_program_in_front_is_noticed_without_an_event() {
    let mut node = Node::redirecting();
    node.converges();
    assert!(!node.reconciler.is_order_changed());
    come_in_front(&mut node, Hook::PodOut, PODS[0]);
    assert!(node.reconciler.is_order_changed());

    node.kernel().refuses = |change| matches!(change, Change::MoveFirst { .. });
    let report = node.reconcile();
    assert!(!report.problems.is_empty());
}
