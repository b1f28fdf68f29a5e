//! Connections that pods opened before their first policy.

use xdp_plan::{
    change::Change,
    hook::{AttachPoint, Hook},
};

use super::node::{DROP, NICS, Node, PASS, PODS, policy, reasons};
use crate::reconcile::reconciler::{Outcome, Resync};

const NOTES: fn(&Change) -> bool = |change| matches!(change, Change::NoteConnections { .. });

/// In between, the programs know no pod with these addresses, and note nothing.
#[test]
fn connections_are_noted_between_the_attach_and_the_first_rule_and_again_after_the_rules() {
    let mut node = Node::new("Redirect", &[DROP]);
    node.reconcile();
    let log: Vec<Change> = node
        .kernel()
        .take_log()
        .into_iter()
        .map(|(change, _)| change)
        .collect();
    let at = |wanted: &dyn Fn(&Change) -> bool| log.iter().position(wanted);
    let rules = at(&|change| matches!(change, Change::SetWord { .. })).unwrap();
    for pod in PODS {
        let point = Some(AttachPoint::new(Hook::PodOut, pod));
        let attached = at(&|change| change.point() == point).unwrap();
        let noted: Vec<usize> = (0..log.len())
            .filter(|at| matches!(&log[*at], Change::NoteConnections { host, .. } if *host == pod))
            .collect();
        let last = log
            .iter()
            .rposition(|change| matches!(change, Change::SetWord { .. } | Change::SetAddress { .. }));
        let [first, second] = noted[..] else {
            panic!("{noted:?} {log:#?}");
        };
        assert!(
            attached < first && first < rules && last.unwrap() < second,
            "{log:#?}"
        );
    }
}

#[test]
fn they_are_noted_once_and_again_when_the_program_is_attached_again() {
    let mut node = Node::new("Redirect", &[DROP]);
    node.converges();
    node.kernel().take_log();
    node.reconcile();
    assert!(!node.kernel().take_log().iter().any(|(change, _)| NOTES(change)));
    node.kernel()
        .model
        .installed
        .attachments
        .hooks
        .remove(&AttachPoint::new(Hook::PodOut, PODS[0]));
    node.reconcile();
    let noted = node.kernel().take_log();
    assert_eq!(noted.iter().filter(|(change, _)| NOTES(change)).count(), 1);
}

#[test]
fn they_are_noted_again_when_an_interface_gets_the_program_that_sees_what_all_pods_open() {
    let mut node = Node::new("Redirect", &[DROP]);
    node.converges();
    node.kernel().take_log();
    let hooks = &mut node.kernel().model.installed.attachments.hooks;
    hooks.remove(&AttachPoint::new(Hook::NicOut, NICS[0]));
    node.reconcile();
    let noted = node.kernel().take_log();
    assert_eq!(
        noted.iter().filter(|(change, _)| NOTES(change)).count(),
        PODS.len()
    );
}

#[test]
fn an_objects_resync_keeps_the_problem_without_listing_again() {
    let mut node = Node::new("Redirect", &[DROP]);
    node.kernel().refuses = NOTES;
    node.reconcile();
    node.kernel().take_log();
    let report = node.resync(Resync::Objects);
    assert!(reasons(&report).contains(&("Pod games/pod0", "ConnectionsUnknown")));
    assert!(!node.kernel().take_log().iter().any(|(change, _)| NOTES(change)));
}

#[test]
fn a_pod_whose_rules_only_pass_needs_no_notes() {
    let mut node = Node::new("Redirect", &[PASS]);
    node.reconcile();
    assert!(!node.kernel().take_log().iter().any(|(change, _)| NOTES(change)));
}

#[test]
fn connections_that_cannot_be_listed_are_a_problem_that_is_tried_again_and_the_rules_are_programmed() {
    let mut node = Node::new("Redirect", &[DROP]);
    node.kernel().refuses = NOTES;
    for _ in 0..2 {
        let report = node.reconcile();
        assert_eq!(report.outcome, Outcome::Done);
        assert!(reasons(&report).contains(&("Pod games/pod0", "ConnectionsUnknown")));
        assert!(policy(&report).programmed, "{:?}", policy(&report));
        assert!(node.kernel().take_log().iter().any(|(change, _)| NOTES(change)));
    }
    node.kernel().refuses = |_| false;
    node.converges();
}
