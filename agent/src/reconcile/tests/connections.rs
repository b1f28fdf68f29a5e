//! Connections that are older than the programs.

use xdp_plan::{
    change::Change,
    hook::{AttachPoint, Hook},
};

use super::node::{DROP, Node, PASS, PODS, policy, reasons};
use crate::reconcile::reconciler::Outcome;

const NOTES: fn(&Change) -> bool = |change| matches!(change, Change::NoteConnections { .. });

#[test]
fn connections_are_noted_after_the_attach_and_before_the_first_rule() {
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
        let noted =
            at(&|change| matches!(change, Change::NoteConnections { host, .. } if *host == pod)).unwrap();
        assert!(attached < noted && noted < rules, "{log:#?}");
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
        assert_eq!(report.outcome, Outcome::Requeue);
        assert!(reasons(&report).contains(&("connections", "ConnectionsUnknown")));
        assert!(policy(&report).programmed, "{:?}", policy(&report));
        assert!(node.kernel().take_log().iter().any(|(change, _)| NOTES(change)));
    }
    node.kernel().refuses = |_| false;
    node.converges();
}
