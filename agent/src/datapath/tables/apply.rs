//! Applies changes to the tables.

use std::collections::BTreeSet;

use aya::maps::{MapError, PerCpuValues};
use xdp_core::tables::{Count, FailureKey, Label, MAX_PROBLEMS, RuleCounters, RuleText, maps};
use xdp_plan::{
    change::{Change, ChangeResult, apply_in_order},
    report::Problem,
};

use crate::datapath::{
    Datapath,
    error::{ApplyError, OpenError},
    flows::preexisting::ConntrackList,
    kernel::{
        plain::{Plain, PlainOldData},
        sys,
    },
    tables::labels::{empty, pod_label, problem_label, to_text},
};

/// Interface 0 empties an element (`__dev_map_update_elem`, `kernel/bpf/devmap.c`).
const NO_DEVICE: u32 = 0;

impl Datapath {
    /// Applies changes in their order, see [`apply_in_order`].
    pub fn apply(&mut self, changes: &[Change]) -> Vec<ChangeResult<ApplyError>> {
        let mut conntrack = ConntrackList::new(changes);
        apply_in_order(changes, |change| {
            match change {
                Change::NoteConnections {
                    interface, addresses, ..
                } => self.note_connections(interface, addresses, &mut conntrack)?,
                table if table.is_of_tables() => {
                    self.fence_first()?;
                    self.apply_one(table)?;
                }
                attachment => self.apply_attachment(attachment)?,
            }
            self.noted.follow(change);
            Ok(())
        })
    }

    /// A fence that failed is due before anything that it protects is used again.
    fn fence_first(&mut self) -> Result<(), ApplyError> {
        if self.fence_due {
            sys::fence().map_err(ApplyError::Fence)?;
            self.fence_due = false;
        }
        Ok(())
    }

    fn apply_one(&mut self, change: &Change) -> Result<(), ApplyError> {
        let tables = &mut self.pinned.tables;
        match change {
            Change::SetRuleLabel { rule, label } => {
                let text = to_text(&**label)?;
                self.reset_counters(*rule)?;
                self.set_rule_label(*rule, &text)?;
                self.pinned.rule_labels.learn(*rule, &text, label);
                Ok(())
            }
            Change::ClearRuleLabel { rule } => self.set_rule_label(*rule, &empty()),
            Change::SetAnswering { namespaces } => self.set_namespace(0, u64::from(*namespaces)),
            Change::SetShare { namespace, share } => self.set_namespace(*namespace, share.0),
            Change::SetPodLabel { slot, label, fresh } => {
                if *fresh {
                    self.delete_failures(*slot, label.identity.ifindex)?;
                }
                self.set_pod_label(*slot, &pod_label(label)?)
            }
            Change::ClearPodLabel { slot } => self.set_pod_label(*slot, &empty()),
            Change::SetDevice { slot, ifindex } => {
                let refused = |source| ApplyError::Device {
                    ifindex: *ifindex,
                    source: Box::new(source),
                };
                tables.devices.set(*slot, *ifindex, None, 0).map_err(refused)
            }
            Change::ClearDevice { slot } => {
                let refused = |source| ApplyError::Device {
                    ifindex: NO_DEVICE,
                    source: Box::new(source),
                };
                tables.devices.set(*slot, NO_DEVICE, None, 0).map_err(refused)
            }
            Change::Write { index, content } => tables
                .memory
                .write(*index, content)
                .map_err(ApplyError::memory("block", *index)),
            Change::SetWord { slot, word } => tables
                .memory
                .words
                .store(*slot, word.0)
                .map_err(ApplyError::memory(maps::SLOTS, *slot)),
            Change::SetIndex { position, word } => tables
                .memory
                .index
                .store(*position, word.0)
                .map_err(ApplyError::memory(maps::INDEX, *position)),
            Change::SetAddress { address, slot } => tables
                .pods
                .insert(Plain(*address), slot, 0)
                .map_err(ApplyError::table(maps::PODS)),
            Change::ClearAddress { address } => {
                ignore_absent(tables.pods.remove(&Plain(*address))).map_err(ApplyError::table(maps::PODS))
            }
            Change::SetNic { position, nic } => tables
                .memory
                .nics
                .set(*position, nic)
                .map_err(ApplyError::memory(maps::NICS, *position)),
            Change::SetStation { station, receiver } => tables
                .stations
                .insert(Plain(*station), Plain(*receiver), 0)
                .map_err(ApplyError::table(maps::STATIONS)),
            Change::ClearStation { station } => ignore_absent(tables.stations.remove(&Plain(*station)))
                .map_err(ApplyError::table(maps::STATIONS)),
            Change::Fence => {
                self.fence_due = true;
                self.fence_first()
            }
            _ => Ok(()),
        }
    }

    /// Writes the problems that `status` shows, where they differ. Those that do not fit into the table are
    /// left out.
    pub fn set_problems(&mut self, problems: &[Problem]) -> Result<(), OpenError> {
        let table = &mut self.pinned.tables.problems;
        for index in 0..MAX_PROBLEMS {
            let label = problems
                .get(index as usize)
                .and_then(problem_label)
                .unwrap_or(empty());
            let Plain(present) = table.get(&index, 0).map_err(OpenError::table(maps::PROBLEMS))?;
            if present != label {
                table
                    .set(index, Plain(label), 0)
                    .map_err(OpenError::table(maps::PROBLEMS))?;
            }
        }
        Ok(())
    }

    /// Deletes the failures of pods that are gone. `live` are the host-side interfaces of all pairs.
    /// Interface indexes are not reused for a long time, so stale failures would fill the table.
    pub fn prune_failures(&mut self, live: &BTreeSet<u32>) -> Result<(), OpenError> {
        let tables = &mut self.pinned.tables;
        let failed = OpenError::table(maps::FAILURES);
        let keys = tables
            .failures
            .keys()
            .collect::<Result<Vec<_>, _>>()
            .map_err(&failed)?;
        for key in keys {
            let labelled =
                |slot| matches!(tables.pod_labels.get(&slot, 0), Ok(Plain(label)) if label.len != 0);
            let gone_pod = match key.0.kind {
                FailureKey::REDIRECT_ERR => !labelled(key.0.subject),
                FailureKey::DEVMAP_XMIT => !live.contains(&key.0.subject),
                _ => false,
            };
            if gone_pod {
                ignore_absent(tables.failures.remove(&key)).map_err(&failed)?;
            }
        }
        Ok(())
    }

    fn set_rule_label(&mut self, rule: u32, label: &RuleText) -> Result<(), ApplyError> {
        let table = &mut self.pinned.tables.memory.rule_labels;
        table
            .set(rule, label)
            .map_err(ApplyError::memory(maps::RULE_LABELS, rule))
    }

    fn set_namespace(&mut self, number: u16, word: u64) -> Result<(), ApplyError> {
        let words = &self.pinned.tables.memory.namespaces;
        let number = u32::from(number);
        words
            .store(number, word)
            .map_err(ApplyError::memory(maps::NAMESPACES, number))
    }

    fn set_pod_label(&mut self, slot: u32, label: &Label) -> Result<(), ApplyError> {
        let table = &mut self.pinned.tables.pod_labels;
        table
            .set(slot, Plain(*label), 0)
            .map_err(ApplyError::table(maps::POD_LABELS))
    }

    fn reset_counters(&mut self, rule: u32) -> Result<(), ApplyError> {
        let zero = zeroes(Plain(RuleCounters::default()))?;
        let tables = &mut self.pinned.tables;
        tables
            .counters
            .set(rule, zero, 0)
            .map_err(ApplyError::table(maps::RULE_COUNTERS))?;
        let zero = zeroes(Plain(Count::default()))?;
        tables
            .delivered
            .set(rule, zero, 0)
            .map_err(ApplyError::table(maps::DELIVERED))?;
        tables
            .rule_limits
            .set(rule, 0, 0)
            .map_err(ApplyError::table(maps::RULE_LIMITS))
    }

    /// Deletes the failures of a slot that gets a new pod.
    fn delete_failures(&mut self, slot: u32, ifindex: u32) -> Result<(), ApplyError> {
        let table = &mut self.pinned.tables.failures;
        let failed = ApplyError::table(maps::FAILURES);
        let keys = table.keys().collect::<Result<Vec<_>, _>>().map_err(&failed)?;
        for key in keys {
            let about = match key.0.kind {
                FailureKey::REDIRECT_ERR => slot,
                FailureKey::DEVMAP_XMIT => ifindex,
                _ => continue,
            };
            if key.0.subject == about {
                ignore_absent(table.remove(&key)).map_err(&failed)?;
            }
        }
        Ok(())
    }
}

fn zeroes<T: PlainOldData>(zero: Plain<T>) -> Result<PerCpuValues<Plain<T>>, ApplyError> {
    let io = |(_, error)| ApplyError::Cpus(error);
    let cpus = aya::util::nr_cpus().map_err(io)?;
    PerCpuValues::try_from(vec![zero; cpus]).map_err(ApplyError::Cpus)
}

/// Treats the removal of an absent element as a success.
fn ignore_absent(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}
