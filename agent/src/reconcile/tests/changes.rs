//! Every kind of change fails once; the agent is killed after every change.

use std::sync::Arc;

use xdp_plan::{
    change::Change,
    hook::{AttachPoint, Hook},
    installed::{HookState, Program},
};

use super::node::{DROP, NICS, Node, PODS, REDIRECT, objects};
use crate::reconcile::reconciler::Outcome;

/// Makes what is attached that of another version, over parked tables.
fn outdate(node: &mut Node) {
    let attachments = &mut node.kernel().model.installed.attachments;
    attachments.migrating = true;
    for state in attachments.hooks.values_mut() {
        *state = Arc::new(HookState {
            program: Program::Outdated,
            ..HookState::clone(state)
        });
    }
}

/// Nodes that have something to change: what they have, and what they should have.
fn nodes() -> Vec<Node> {
    let changed = |from: (&str, &[&str]), to: (&str, &[&str])| {
        let mut node = Node::new(from.0, from.1);
        node.converges();
        node.objects = objects(to.0, to.1);
        node
    };
    let mut upgraded = Node::new("Peer", &[REDIRECT]);
    upgraded.converges();
    outdate(&mut upgraded);
    let mut moved = Node::redirecting();
    moved.converges();
    moved.objects.pods.pop();
    moved.kernel().delete(PODS[1]);
    let mut released = Node::redirecting();
    released.converges();
    released.restart(&["nic2"]);
    vec![
        Node::redirecting(),
        Node::new("Peer", &[REDIRECT, DROP]),
        changed(("Redirect", &[REDIRECT]), ("Peer", &[DROP])),
        changed(("Peer", &[DROP]), ("Redirect", &[REDIRECT, DROP])),
        upgraded,
        moved,
        released,
    ]
}

fn kind(change: &Change) -> String {
    let text = format!("{change:?}");
    let hook = change.point().map(|point| format!(" {:?}", point.hook));
    format!(
        "{}{}",
        text.split([' ', '{']).next().unwrap_or_default(),
        hook.unwrap_or_default()
    )
}

thread_local! {
    static FAILING: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

fn is_failing(change: &Change) -> bool {
    FAILING.with_borrow(|failing| *failing == kind(change))
}

#[test]
fn whatever_kind_of_change_fails_the_status_says_so_and_the_next_reconcile_repairs_it() {
    let mut kinds = std::collections::BTreeSet::new();
    for index in 0..nodes().len() {
        let mut node = nodes().remove(index);
        node.reconcile();
        let made: std::collections::BTreeSet<String> = node
            .kernel()
            .take_log()
            .iter()
            .map(|(change, _)| kind(change))
            .collect();
        for failing in &made {
            FAILING.set(failing.clone());
            let mut node = nodes().remove(index);
            node.kernel().refuses = is_failing;
            let report = node.reconcile();
            let tried = node.kernel().take_log();
            if !tried.iter().any(|(_, applied)| !applied) {
                continue;
            }
            // What one pod's connections are is asked again with the next full reading, and delays no others.
            let waits = failing == "NoteConnections";
            let expected = if waits { Outcome::Done } else { Outcome::Requeue };
            assert_eq!(report.outcome, expected, "{failing} of node {index}");
            assert!(!report.problems.is_empty(), "{failing} of node {index}");
            node.kernel().refuses = |_| false;
            node.reconcile();
            node.converges();
            kinds.insert(failing.split(' ').next().unwrap_or_default().to_owned());
        }
    }
    let expected = [
        "Attach",
        "ClearAddress",
        "ClearDevice",
        "ClearPodLabel",
        "ClearRuleLabel",
        "Detach",
        "EndMigration",
        "Fence",
        "ForgetGro",
        "MigrateFlows",
        "NoteConnections",
        "PurgeFlows",
        "Replace",
        "SetAddress",
        "SetDevice",
        "SetGro",
        "SetIndex",
        "SetPodLabel",
        "SetRuleLabel",
        "SetWord",
        "Write",
    ];
    for kind in expected {
        assert!(kinds.contains(kind), "{kind} was never tried: {kinds:?}");
    }
}

#[test]
fn wherever_the_agent_is_killed_the_next_one_gets_where_it_should_be() {
    for index in 0..nodes().len() {
        for changes in 0.. {
            let mut node = nodes().remove(index);
            node.kernel().dies_after = Some(changes);
            node.reconcile();
            let done = node.kernel().dies_after != Some(0);
            let selected = if index + 1 == nodes().len() {
                "nic2"
            } else {
                "nic*"
            };
            node.restart(&[selected]);
            node.reconcile();
            node.converges();
            if done {
                break;
            }
        }
    }
}

#[test]
fn an_upgrade_replaces_every_program_and_detaches_none() {
    let mut node = Node::new("Peer", &[REDIRECT]);
    node.converges();
    outdate(&mut node);
    node.reconcile();
    let log = node.kernel().take_log();
    assert!(
        log.iter()
            .all(|(change, _)| !matches!(change, Change::Detach { .. } | Change::Attach { .. }))
    );
    let position = |wanted: &dyn Fn(&Change) -> bool| log.iter().position(|(change, _)| wanted(change));
    let replaced = |hook, ifindex| {
        position(&|change| {
            matches!(change, Change::Replace { .. })
                && change.point() == Some(AttachPoint::new(hook, ifindex))
        })
    };
    let order = [
        position(&|change| *change == Change::MigrateFlows),
        replaced(Hook::PodReader, PODS[0]),
        replaced(Hook::NicOut, NICS[0]),
        replaced(Hook::PodIn, PODS[0]),
        replaced(Hook::PodOut, PODS[0]),
        replaced(Hook::NicPeer, NICS[0]),
        position(&|change| *change == Change::PurgeFlows),
        replaced(Hook::Nic, NICS[0]),
        position(&|change| *change == Change::EndMigration),
    ];
    assert!(
        order.iter().all(Option::is_some) && order.is_sorted(),
        "{order:?}"
    );
}
