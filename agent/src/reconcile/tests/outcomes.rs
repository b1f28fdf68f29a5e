//! What the loop does, and what the status says, when the kernel refuses something.

use xdp_crds::{NicMode, NicReplyPath};
use xdp_plan::{
    change::Change,
    hook::{AttachPoint, Hook},
    installed::{Gro, PodInterface, Program},
    nics::{XdpMode, XdpState, reason},
};

use super::{
    fake::Refuses,
    node::{DROP, NICS, Node, PASS, PODS, REDIRECT, nic_state, objects, policy, reasons},
};
use crate::reconcile::reconciler::{Outcome, Resync};

const ATTACH: fn(&Change, Hook, u32) -> bool = |change, hook, ifindex| {
    let attaches = matches!(
        change,
        Change::Attach { .. } | Change::Replace { .. } | Change::MoveFirst { .. } | Change::Probe { .. }
    );
    attaches && change.point() == Some(AttachPoint::new(hook, ifindex))
};

/// What is tried again and again while something is refused: that alone.
#[track_caller]
fn retries_alone(node: &mut Node, refused: Refuses) {
    for _ in 0..3 {
        let before = node.kernel().model.installed.clone();
        let problems = node.reconcile().problems;
        let log = node.kernel().take_log();
        assert!(
            !log.is_empty() && log.iter().all(|(change, applied)| refused(change) && !applied),
            "{log:#?}"
        );
        assert_eq!(
            node.kernel().model.installed,
            before,
            "nothing is attached for it"
        );
        assert_eq!(node.reconcile().problems, problems, "the log has nothing new");
        node.kernel().take_log();
    }
}

#[track_caller]
fn recovers(node: &mut Node) {
    node.kernel().refuses = |_| false;
    node.converges();
}

#[test]
fn everything_is_programmed_by_one_reconcile_and_the_second_has_nothing_to_do() {
    for (delivery, rule) in [
        ("Redirect", REDIRECT),
        ("Peer", REDIRECT),
        ("Redirect", DROP),
        ("Redirect", PASS),
    ] {
        let mut node = Node::new(delivery, &[rule]);
        node.converges();
        let redirects = rule == REDIRECT;
        // Where rules drop, these note what the pods open.
        let notes = rule != PASS;
        for nic in NICS {
            assert_eq!(node.kernel().program(Hook::Nic, nic), Program::Current);
            assert_eq!(node.kernel().program(Hook::NicOut, nic).is_attached(), notes);
            assert_eq!(
                node.kernel().program(Hook::NicPeer, nic).is_attached(),
                delivery == "Peer"
            );
        }
        for pod in PODS {
            for (hook, wanted) in [
                (Hook::PodReader, redirects),
                (Hook::PodIn, notes),
                (Hook::PodOut, notes),
            ] {
                let attached = node.kernel().program(hook, pod).is_attached();
                assert_eq!(attached, wanted, "{hook:?}");
            }
        }
    }
}

#[test]
fn a_nic_that_refuses_the_program_keeps_nothing_and_the_others_work() {
    const REFUSES: Refuses = |change| ATTACH(change, Hook::Nic, NICS[0]);
    let mut node = Node::redirecting();
    node.kernel().refuses = REFUSES;
    let report = node.reconcile();
    assert_eq!(report.outcome, Outcome::Requeue);
    assert_eq!(reasons(&report), [("NIC nic2", reason::ATTACH_REFUSED)]);
    assert_eq!(nic_state(&report, "nic2").mode, NicMode::None);
    assert_eq!(nic_state(&report, "nic3").mode, NicMode::Native);
    assert!(!policy(&report).programmed && report.status.pods.is_empty());
    for hook in [Hook::Nic, Hook::NicOut, Hook::NicPeer] {
        assert_eq!(node.kernel().program(hook, NICS[0]), Program::Absent);
    }
    node.kernel().take_log();
    retries_alone(&mut node, REFUSES);
    recovers(&mut node);
}

#[test]
fn a_nic_that_cannot_take_the_program_gets_nothing_and_is_not_even_tried() {
    let mut node = Node::new("Peer", &[REDIRECT]);
    node.kernel().nics[0].link.xdp = XdpState {
        mode: XdpMode::Native,
        program_id: Some(77),
    };
    let report = node.reconcile();
    assert_eq!(reasons(&report), [("NIC nic2", reason::FOREIGN_PROGRAM)]);
    assert_eq!(nic_state(&report, "nic2").mode, NicMode::Foreign);
    let of_nic = |(change, _): &(Change, bool)| change.point().is_some_and(|point| point.ifindex == NICS[0]);
    assert!(!node.kernel().take_log().iter().any(of_nic));
    for _ in 0..2 {
        assert_eq!(node.reconcile().problems, report.problems);
        assert_eq!(node.kernel().take_log(), []);
    }
    node.kernel().nics[0].link.xdp = XdpState::default();
    node.converges();
}

#[test]
fn where_one_nic_refuses_the_reply_path_no_pod_relies_on_it_and_none_is_attached() {
    const REFUSES: Refuses = |change| ATTACH(change, Hook::NicOut, NICS[1]);
    let mut node = Node::redirecting();
    node.kernel().refuses = REFUSES;
    let report = node.reconcile();
    assert_eq!(
        reasons(&report),
        [
            ("NIC nic3", reason::NO_REPLY_PATH),
            ("Pod games/pod0", "NoReplyPath"),
            ("Pod games/pod1", "NoReplyPath"),
        ]
    );
    for nic in ["nic2", "nic3"] {
        assert_eq!(
            nic_state(&report, nic).mode,
            NicMode::Native,
            "rules that do not redirect work"
        );
    }
    assert_eq!(nic_state(&report, "nic3").reply_path, NicReplyPath::Missing);
    for hook in Hook::REPLY_PATH {
        for ifindex in NICS.into_iter().chain(PODS) {
            assert_eq!(node.kernel().program(hook, ifindex), Program::Absent, "{hook:?}");
        }
    }
    node.kernel().take_log();
    retries_alone(&mut node, REFUSES);
    recovers(&mut node);
}

#[test]
fn where_one_nic_refuses_delivery_peer_no_pod_relies_on_it() {
    const REFUSES: Refuses = |change| ATTACH(change, Hook::NicPeer, NICS[0]);
    let mut node = Node::new("Peer", &[REDIRECT]);
    node.kernel().refuses = REFUSES;
    let report = node.reconcile();
    let pods = ["Pod games/pod0", "Pod games/pod1"].map(|pod| (pod, "PeerRefused"));
    assert_eq!(
        reasons(&report),
        [&[("NIC nic2", reason::PEER_REFUSED)], &pods[..]].concat()
    );
    for nic in NICS {
        assert_eq!(node.kernel().program(Hook::NicPeer, nic), Program::Absent);
        assert_eq!(node.kernel().program(Hook::Nic, nic), Program::Current);
    }
    node.kernel().take_log();
    retries_alone(&mut node, REFUSES);
    recovers(&mut node);
}

/// One pod is refused something; the other is programmed.
#[track_caller]
fn a_pod_is_refused(refuses: Refuses, reason: &str, absent: &[Hook]) {
    let mut node = Node::redirecting();
    node.kernel().refuses = refuses;
    let report = node.reconcile();
    assert_eq!(reasons(&report), [("Pod games/pod0", reason)]);
    let pods = &report.status.pods;
    assert_eq!(
        pods.iter()
            .map(|pod| (&*pod.name, &*pod.reason))
            .collect::<Vec<_>>(),
        [("pod0", reason)]
    );
    assert!(!policy(&report).programmed);
    for nic in ["nic2", "nic3"] {
        assert_eq!(nic_state(&report, nic).reply_path, NicReplyPath::Attached);
    }
    for hook in absent {
        assert_eq!(node.kernel().program(*hook, PODS[0]), Program::Absent, "{hook:?}");
        assert_eq!(
            node.kernel().program(*hook, PODS[1]),
            Program::Current,
            "{hook:?}"
        );
    }
    node.kernel().take_log();
    retries_alone(&mut node, refuses);
    recovers(&mut node);
}

#[test]
fn a_pod_whose_hooks_are_refused_has_neither() {
    a_pod_is_refused(
        |change| ATTACH(change, Hook::PodIn, PODS[0]),
        "NoReplyPath",
        &Hook::POD,
    );
    a_pod_is_refused(
        |change| ATTACH(change, Hook::PodOut, PODS[0]),
        "NoReplyPath",
        &Hook::POD,
    );
}

#[test]
fn a_pod_whose_reader_is_refused_gets_no_hooks() {
    let absent = [Hook::PodReader, Hook::PodIn, Hook::PodOut];
    a_pod_is_refused(
        |change| ATTACH(change, Hook::PodReader, PODS[0]),
        "ReaderRefused",
        &absent,
    );
}

#[test]
fn a_pod_whose_gro_is_refused_gets_no_programs() {
    let absent = [Hook::PodReader, Hook::PodIn, Hook::PodOut];
    let refuses: Refuses = |change| matches!(change, Change::SetGro { host, .. } if *host == PODS[0]);
    a_pod_is_refused(refuses, "GroRefused", &absent);
}

#[test]
fn gro_that_was_switched_on_too_early_is_switched_again() {
    let mut node = Node::redirecting();
    let interface = PodInterface {
        other_exit: None,
        unreachable: None,
        gro: Ok(Gro::Ineffective),
    };
    node.kernel()
        .model
        .installed
        .attachments
        .pods
        .insert(PODS[0], interface.into());
    node.converges();
}

#[test]
fn a_pod_whose_namespace_cannot_be_entered_is_left_alone_and_taken_once_it_can() {
    let mut node = Node::redirecting();
    node.kernel().unreachable.insert(PODS[0]);
    let report = node.reconcile();
    assert_eq!(reasons(&report), [("Pod games/pod0", "NetnsUnreachable")]);
    assert_eq!(node.kernel().program(Hook::PodReader, PODS[0]), Program::Absent);
    node.kernel().unreachable.clear();
    node.converges();
}

#[test]
fn an_interface_that_is_down_for_a_moment_keeps_its_programs() {
    let mut node = Node::redirecting();
    node.converges();
    node.kernel().facts.pairs[0].pod.up = false;
    let report = node.reconcile();
    assert_eq!(reasons(&report), [("Pod games/pod0", "LinkDown")]);
    assert_eq!(report.outcome, Outcome::Done, "an event tells when it is up");
    let log = node.kernel().take_log();
    assert!(log.iter().all(|(change, _)| change.is_of_tables()), "{log:?}");
    node.kernel().facts.pairs[0].pod.up = true;
    node.converges();
}

#[test]
fn a_nic_that_is_not_selected_any_more_is_freed_at_the_start_and_never_later() {
    let mut node = Node::redirecting();
    node.converges();
    node.kernel().nics[1].link.name = "renamed".into();
    node.reconcile();
    assert_eq!(node.kernel().program(Hook::Nic, NICS[1]), Program::Current);
    assert_eq!(node.kernel().program(Hook::NicOut, NICS[1]), Program::Current);
    node.restart(&["nic*"]);
    node.converges();
    for hook in [Hook::Nic, Hook::NicOut] {
        assert_eq!(node.kernel().program(hook, NICS[1]), Program::Absent, "{hook:?}");
    }
}

#[test]
fn a_nic_that_cannot_be_freed_is_a_problem_until_it_can() {
    let mut node = Node::redirecting();
    node.converges();
    node.restart(&["nic2"]);
    node.kernel().refuses = |change| matches!(change, Change::Detach { .. });
    let report = node.reconcile();
    assert_eq!(reasons(&report), [("NIC nic3", "DetachFailed")]);
    assert_eq!(report.outcome, Outcome::Requeue);
    assert_eq!(
        node.kernel().program(Hook::NicOut, NICS[1]),
        Program::Current,
        "what has the program keeps the rest"
    );
    recovers(&mut node);
    assert_eq!(node.kernel().program(Hook::NicOut, NICS[1]), Program::Absent);
}

#[test]
fn what_nothing_needs_any_more_is_detached_after_the_tables() {
    let mut node = Node::new("Peer", &[REDIRECT]);
    node.converges();
    for (rule, of_nics, of_pods) in [
        (
            DROP,
            &[Hook::Nic, Hook::NicOut][..],
            &[Hook::PodIn, Hook::PodOut][..],
        ),
        (PASS, &[Hook::Nic], &[]),
    ] {
        node.objects = objects("Peer", &[rule]);
        // No flow is left to drain.
        node.converges();
        for hook in Hook::ALL {
            for ifindex in NICS.into_iter().chain(PODS) {
                let stay = if NICS.contains(&ifindex) { of_nics } else { of_pods };
                assert_eq!(
                    node.kernel().program(hook, ifindex).is_attached(),
                    stay.contains(&hook),
                    "{rule}: {hook:?} {ifindex}"
                );
            }
        }
    }
}

#[test]
fn the_pins_of_an_interface_that_is_gone_are_removed() {
    for ifindex in [NICS[0], PODS[0]] {
        let mut node = Node::redirecting();
        node.converges();
        node.kernel().delete(ifindex);
        node.objects.pods.retain(|_| ifindex != PODS[0]);
        for _ in 0..2 {
            node.reconcile();
        }
        let attachments = &node.kernel().model.installed.attachments;
        assert!(
            attachments.hooks.keys().all(|point| point.ifindex != ifindex),
            "{attachments:#?}"
        );
        assert!(!attachments.gro_notes.contains(&ifindex));
    }
}

#[test]
fn an_interface_that_vanishes_in_between_is_a_problem_once_and_the_others_go_on() {
    for ifindex in [NICS[0], PODS[0]] {
        let mut node = Node::redirecting();
        node.kernel().deletes = Some(ifindex);
        let report = node.reconcile();
        assert_eq!(
            report.outcome == Outcome::Requeue,
            ifindex == PODS[0],
            "{:?}",
            report.problems
        );
        assert_eq!(node.kernel().program(Hook::Nic, NICS[1]), Program::Current);
        assert_eq!(node.kernel().program(Hook::PodOut, PODS[1]), Program::Current);
        let report = node.reconcile();
        let gone = |name: &str| report.problems.iter().any(|problem| problem.object == name);
        assert!(!gone("NIC nic2"), "{:?}", report.problems);
    }
}

#[test]
fn an_objects_resync_reads_no_interface_and_no_hook_again() {
    let mut node = Node::redirecting();
    node.converges();
    let reads = node.kernel().full_reads;
    node.objects = objects("Redirect", &[DROP, REDIRECT]);
    let report = node.resync(Resync::Objects);
    assert!(report.changes > 0 && policy(&report).programmed);
    assert_eq!(node.kernel().full_reads, reads);
    node.kernel().refuses = |change| matches!(change, Change::SetWord { .. });
    node.objects = objects("Redirect", &[REDIRECT]);
    assert_eq!(node.resync(Resync::Objects).outcome, Outcome::Requeue);
    node.resync(Resync::Objects);
    assert_eq!(
        node.kernel().full_reads,
        reads + 1,
        "after a failure everything is read"
    );
}
