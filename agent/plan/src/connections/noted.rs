//! Which pods' preexisting connections are noted.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{change::Change, hook::Hook};

/// The addresses of pods whose preexisting connections are noted, by the index of the host's end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotedPods(BTreeMap<u32, BTreeSet<IpAddr>>);

impl NotedPods {
    /// Whether the connections of all these addresses are noted.
    pub fn has(&self, host: u32, addresses: &BTreeSet<IpAddr>) -> bool {
        self.0.get(&host).is_some_and(|noted| addresses.is_subset(noted))
    }

    /// Follows a change. From an attach on, the programs see packets that they did not see before.
    pub fn follow(&mut self, change: &Change) {
        match change {
            Change::Attach { point, .. }
            | Change::Replace { point, .. }
            | Change::MoveFirst { point, .. } => {
                match point.hook {
                    Hook::PodOut => drop(self.0.remove(&point.ifindex)),
                    // It sees what all pods open, after the stack has translated it.
                    Hook::NicOut => self.0.clear(),
                    _ => {}
                }
            }
            Change::Detach { point, .. } if point.hook == Hook::PodOut => drop(self.0.remove(&point.ifindex)),
            Change::NoteConnections {
                host,
                addresses,
                complete: true,
                ..
            } => self.0.entry(*host).or_default().extend(addresses),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{AttachPoint, Interface};

    fn interface() -> Interface {
        Interface {
            ifindex: 2,
            name: "eth0".to_owned(),
            netns_id: Some(1),
        }
    }

    fn addresses(last: &[u8]) -> BTreeSet<IpAddr> {
        last.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect()
    }

    fn notes(host: u32, last: &[u8], complete: bool) -> Change {
        Change::NoteConnections {
            host,
            interface: interface(),
            pod: String::new(),
            addresses: addresses(last),
            complete,
        }
    }

    fn moved(hook: Hook, ifindex: u32) -> Change {
        Change::MoveFirst {
            point: AttachPoint::new(hook, ifindex),
            interface: interface(),
        }
    }

    #[test]
    fn a_pod_is_noted_once_the_tables_have_it_and_by_address() {
        let mut noted = NotedPods::default();
        noted.follow(&notes(7, &[1], false));
        assert!(!noted.has(7, &addresses(&[1])));
        noted.follow(&notes(7, &[1], true));
        assert!(noted.has(7, &addresses(&[1])) && !noted.has(7, &addresses(&[1, 2])));
        noted.follow(&notes(7, &[2], true));
        assert!(noted.has(7, &addresses(&[1, 2])) && !noted.has(8, &addresses(&[1])));
    }

    #[test]
    fn a_program_that_was_behind_has_missed_what_its_pod_opened_and_that_of_a_nic_what_all_pods_opened() {
        let mut noted = NotedPods::default();
        for host in [7, 8] {
            noted.follow(&notes(host, &[1], true));
        }
        noted.follow(&moved(Hook::PodReader, 7));
        assert!(noted.has(7, &addresses(&[1])));
        noted.follow(&moved(Hook::PodOut, 7));
        assert!(!noted.has(7, &addresses(&[1])) && noted.has(8, &addresses(&[1])));
        noted.follow(&moved(Hook::NicOut, 2));
        assert!(!noted.has(8, &addresses(&[1])));
    }
}
