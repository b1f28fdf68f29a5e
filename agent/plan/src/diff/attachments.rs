//! The changes of attached programs. Together with the tables they are ordered like this:
//!
//! 1. detach the program from NICs that should not have it;
//! 2. copy parked flows, before the first program that uses the parked tables is replaced;
//! 3. switch GRO on, attach readers, the reply path and the program for delivery `Peer`, in the order of
//!    [`Hook`], and move those in front that are behind programs of other owners;
//! 4. note the connections that pods have opened before: no rule may end them;
//! 5. change the tables, which refer to all of these; the next comparison notes what pods have opened since
//!    step 4;
//! 6. attach the program to NICs: its first packet finds the rest in place;
//! 7. when there is nothing of that to do, nothing refers to the other programs: detach them, in the reverse
//!    order;
//! 8. when all programs are replaced, copy parked flows for the last time, and remove the parked tables.
//!
//! While programs over the tables of another layout are replaced, step 5 is before step 2: no program uses
//! the new tables yet, and the programs of pods ask them whose a packet is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    change::Change,
    desired::{DesiredAttachments, DesiredPod, DesiredProgram},
    hook::{AttachPoint, Hook},
    installed::{Attachments, Gro, PodLabel, Program},
};

/// The difference of the attached programs.
#[derive(Clone, Copy)]
pub(super) struct AttachmentDiff<'a> {
    pub(super) desired: &'a DesiredAttachments,
    pub(super) pods: &'a [DesiredPod],
    pub(super) labels: &'a BTreeMap<u32, PodLabel>,
    pub(super) installed: &'a Attachments,
}

impl AttachmentDiff<'_> {
    /// Puts the changes of the tables between those that the tables rely on and those that rely on the
    /// tables.
    pub(super) fn around(self, tables: Vec<Change>) -> Vec<Change> {
        let mut changes = self.detach(|hook| hook == Hook::Nic);
        let (companions, nics) = (
            self.attach(|hook| hook != Hook::Nic),
            self.attach(|hook| hook == Hook::Nic),
        );
        let replaces = |changes: &[Change]| {
            changes
                .iter()
                .any(|change| matches!(change, Change::Replace { .. }))
        };
        let takes_over = self.installed.migrating && replaces(&companions);
        let (before, after) = if takes_over {
            (tables, Vec::new())
        } else {
            (Vec::new(), tables)
        };
        changes.extend(before);
        if self.installed.migrating && (replaces(&companions) || replaces(&nics)) {
            changes.push(Change::MigrateFlows);
        }
        changes.extend(self.gro());
        changes.extend(companions);
        changes.extend(self.connections());
        changes.extend(after);
        if self.installed.migrating && replaces(&nics) {
            // The parked tables name slots of another reading.
            changes.push(Change::PurgeFlows);
        }
        changes.extend(nics);
        if changes.is_empty() {
            changes = self.remove();
        }
        if changes.is_empty() && self.installed.migrating {
            changes = vec![Change::MigrateFlows, Change::PurgeFlows, Change::EndMigration];
        }
        changes
    }

    fn gro(self) -> impl Iterator<Item = Change> {
        let lacks = move |host: &&u32| {
            let read = self
                .installed
                .pods
                .get(host)
                .and_then(|pod| pod.gro.as_ref().ok());
            read.is_some_and(|gro| *gro != Gro::On)
        };
        let set = move |host: &u32| {
            let interface = self.desired.pods.get(host)?.clone();
            Some(Change::SetGro {
                host: *host,
                interface,
            })
        };
        self.desired.gro.iter().filter(lacks).filter_map(set)
    }

    /// Notes the connections of pods whose packets the programs see only from now on: before the first rule
    /// applies, and once the tables have the pod. In between, the programs note nothing of it.
    fn connections(self) -> impl Iterator<Item = Change> {
        let attached = self.desired.hooks.iter().filter(|(point, program)| {
            point.hook == Hook::PodOut && matches!(program, DesiredProgram::Attached { .. })
        });
        attached.filter_map(move |(point, _)| self.connections_of(point.ifindex))
    }

    fn connections_of(self, host: u32) -> Option<Change> {
        let pods = self.pods.iter().filter(|pod| pod.identity.ifindex == host);
        let mut addresses: BTreeSet<IpAddr> = pods
            .clone()
            .flat_map(|pod| pod.addresses.iter().copied())
            .collect();
        let labels = self.labels.values().filter(|pod| pod.identity.ifindex == host);
        let known: BTreeSet<IpAddr> = labels.flat_map(|pod| pod.addresses.iter().copied()).collect();
        let point = AttachPoint::new(Hook::PodOut, host);
        if self.installed.program(point) == Program::Current && !self.is_behind(point) {
            addresses.retain(|address| known.contains(address));
            if self.installed.noted.has(host, &addresses) {
                return None;
            }
        }
        let pod = &pods.into_iter().next()?.identity;
        let interface = self.desired.pods.get(&host)?.clone();
        (!addresses.is_empty()).then(|| Change::NoteConnections {
            host,
            interface,
            pod: format!("{}/{}", pod.namespace, pod.pod),
            complete: addresses.is_subset(&known),
            addresses,
        })
    }

    /// Attaches or replaces programs at some hooks.
    fn attach(self, of: impl Fn(Hook) -> bool) -> Vec<Change> {
        let wanted = self.desired.hooks.iter().filter(|(point, _)| of(point.hook));
        let change = |(point, program): (&AttachPoint, &DesiredProgram)| {
            let DesiredProgram::Attached { interface, mode } = program.clone() else {
                return None;
            };
            let (point, mode) = (*point, mode);
            match self.installed.program(point) {
                Program::Current => self
                    .is_behind(point)
                    .then_some(Change::MoveFirst { point, interface }),
                Program::Outdated => Some(Change::Replace { point, interface }),
                Program::Absent | Program::Stale => Some(Change::Attach {
                    point,
                    interface,
                    mode,
                }),
            }
        };
        wanted.filter_map(change).collect()
    }

    /// Returns whether programs of other owners run before the agent's. They may drop packets or redirect
    /// them, or end the chain, so that the agent's program does not see them. At most one XDP program runs.
    fn is_behind(self, point: AttachPoint) -> bool {
        let state = self.installed.hooks.get(&point);
        point.hook != Hook::Nic && state.is_some_and(|state| !state.before.is_empty())
    }

    /// Detaches programs at some hooks, the last attached first.
    fn detach(self, of: impl Fn(Hook) -> bool) -> Vec<Change> {
        let installed = self.installed.hooks.iter().rev();
        let gone = installed.filter(|(point, state)| {
            of(point.hook) && state.program != Program::Absent && !self.desired.hooks.contains_key(point)
        });
        let detach = |point: &AttachPoint| Change::Detach {
            point: *point,
            interface: match point.hook {
                Hook::PodReader => self.desired.pods.get(&point.ifindex).cloned(),
                _ => None,
            },
        };
        gone.map(|(point, _)| detach(point)).collect()
    }

    fn remove(self) -> Vec<Change> {
        let mut changes = self.detach(|hook| hook != Hook::Nic);
        let stale = self.installed.gro_notes.iter();
        let stale = stale.filter(|host| !self.desired.pods.contains_key(host));
        changes.extend(stale.map(|host| Change::ForgetGro { host: *host }));
        changes
    }
}
