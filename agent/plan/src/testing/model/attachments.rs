//! Attached programs in memory.

use std::sync::Arc;

use xdp_core::tables::PodBlock;

use super::TableModel;
use crate::{
    change::Change,
    hook::{AttachPoint, Hook},
    installed::{Gro, HookState, Means, PodInterface, Program},
};

/// Kernel id of a program that is attached.
fn program_id(point: AttachPoint) -> u32 {
    1000 * (point.hook as u32 + 1) + point.ifindex
}

impl TableModel {
    pub(super) fn attach(&mut self, change: &Change) {
        self.installed.attachments.noted.follow(change);
        match change {
            Change::Attach { point, .. } => {
                assert!(!self.installed.attachments.has(*point), "{point:?} is attached");
                self.set_program(*point, Program::Current);
            }
            Change::Replace { point, .. } => {
                assert_eq!(self.installed.attachments.program(*point), Program::Outdated);
                self.set_program(*point, Program::Current);
            }
            Change::MoveFirst { point, .. } => {
                assert_eq!(self.installed.attachments.program(*point), Program::Current);
            }
            Change::Probe { interface, .. } => {
                let point = AttachPoint::new(Hook::Nic, interface.ifindex);
                assert!(!self.installed.attachments.has(point), "{point:?} is attached");
                self.set_program(point, Program::Outdated);
                self.probes.insert(point);
            }
            Change::Detach { point, .. } => {
                let state = self.installed.attachments.hooks.remove(point);
                let state = state.expect("a program to detach");
                assert_ne!(state.program, Program::Absent);
                self.probes.remove(point);
            }
            Change::SetGro { host, .. } => {
                let interface = PodInterface {
                    unreachable: None,
                    other_exit: None,
                    gro: Ok(Gro::On),
                };
                self.installed.attachments.pods.insert(*host, Arc::new(interface));
                self.installed.attachments.gro_notes.insert(*host);
            }
            Change::NoteConnections { host, .. } => {
                let point = AttachPoint::new(Hook::PodOut, *host);
                assert_eq!(self.installed.attachments.program(point), Program::Current);
            }
            Change::ForgetGro { host } => assert!(self.installed.attachments.gro_notes.remove(host)),
            Change::EndMigration => self.installed.attachments.migrating = false,
            Change::MigrateFlows | Change::PurgeFlows => assert!(self.installed.attachments.migrating),
            other => panic!("{other:?} attaches nothing"),
        }
    }

    fn set_program(&mut self, point: AttachPoint, program: Program) {
        let hooks = &mut self.installed.attachments.hooks;
        let before = hooks
            .get(&point)
            .map(|state| HookState::clone(state))
            .unwrap_or_default();
        let state = HookState {
            program,
            program_id: Some(program_id(point)),
            means: Some(if point.hook == Hook::Nic {
                Means::Native
            } else {
                Means::Tcx
            }),
            ..before
        };
        hooks.insert(point, Arc::new(state));
        self.probes.remove(&point);
    }

    /// Lists what the tables rely on and is absent: packets would be lost, or their replies.
    pub fn dangling(&self) -> Vec<String> {
        let mut dangling = Vec::new();
        let nics: Vec<u32> = self
            .installed
            .attachments
            .with(Hook::Nic)
            .filter(|nic| !self.probes.contains(&AttachPoint::new(Hook::Nic, *nic)))
            .collect();
        for (slot, word) in &self.installed.words {
            let block = word
                .block()
                .and_then(|index| self.installed.blocks.pods.get(index));
            let (Some(block), Some(label)) = (block, self.installed.pods.get(slot)) else {
                continue;
            };
            let host = label.identity.ifindex;
            let mut needs = |hook: Hook, interfaces: &[u32]| {
                let points = interfaces.iter().map(|ifindex| AttachPoint::new(hook, *ifindex));
                let missing = points.filter(|point| !self.installed.attachments.has(*point));
                dangling.extend(missing.map(|point| format!("slot {slot} relies on {point:?}")));
            };
            let has = |flag| block.flags & flag != 0;
            if has(PodBlock::REPLY_PATH) {
                needs(Hook::NicOut, &nics);
                needs(Hook::PodIn, &[host]);
                needs(Hook::PodOut, &[host]);
            }
            if !has(PodBlock::NO_PEER) {
                needs(Hook::NicPeer, &nics);
            }
            if !has(PodBlock::NO_PEER) || !has(PodBlock::NOT_READY) {
                needs(Hook::PodReader, &[host]);
            }
            let pod = self.installed.attachments.pods.get(&host);
            if !has(PodBlock::NOT_READY) && pod.is_none_or(|pod| pod.gro != Ok(Gro::On)) {
                dangling.push(format!("slot {slot} relies on GRO of {host}"));
            }
        }
        dangling
    }
}
