//! Decides which frames the node's stack takes from a NIC, from the interfaces that are stacked on it.
//!
//! This follows `__netif_receive_skb_core` (net/core/dev.c): VLAN interfaces are looked up first, then the
//! interface that the NIC is a part of, or macvlans, gets what is left. A frame for another MAC address than
//! the NIC's is accepted by the interface that has the address (`vlan_do_receive`, `br_handle_frame`,
//! `macvlan_handle_frame`). A bond does not accept it: `bond_handle_frame` leaves `PACKET_OTHERHOST`.

use std::collections::{BTreeMap, BTreeSet};

use xdp_core::tables::{Mac, NicEntry, Receiver, Station, TagId, nic_position};

use super::{HostLink, NicFacts};

/// The frames that the node's stack takes, by NIC: the content of [`xdp_core::tables::maps::NICS`] and of
/// [`xdp_core::tables::maps::STATIONS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stations {
    /// Elements in use, by position.
    pub nics: BTreeMap<u32, NicEntry>,
    /// All stations.
    pub stations: BTreeMap<Station, Receiver>,
}

impl Stations {
    /// Notes that some rule of the node drops packets.
    pub fn note_drops(&mut self) {
        let of_nics = self.nics.values_mut().map(|nic| &mut nic.receiver);
        for receiver in self.stations.values_mut().chain(of_nics) {
            receiver.flags |= Receiver::DROPS;
        }
    }
}

/// Returns the stations of some NICs. `facts`: all interfaces of the node.
pub fn stations(nics: &BTreeSet<u32>, facts: &[NicFacts]) -> Stations {
    let mut all = Stations::default();
    for nic in facts.iter().filter(|nic| nics.contains(&nic.link.ifindex)) {
        let mut walk = Walk {
            facts,
            nic: nic.link.ifindex,
            visited: BTreeSet::new(),
            stations: &mut all.stations,
        };
        walk.receive(nic, &Frames::of(nic));
        let own = Station {
            mac: mac(&nic.link),
            nic: nic.link.ifindex,
            tags: <[TagId; 2]>::default(),
        };
        if let Some(receiver) = all.stations.get(&own) {
            let nic = NicEntry {
                mac: own.mac,
                ifindex: own.nic,
                reserved: 0,
                receiver: *receiver,
            };
            all.nics.entry(nic_position(nic.ifindex)).or_insert(nic);
        }
    }
    let outlets: Vec<Receiver> = all.stations.values().copied().collect();
    for receiver in outlets {
        all.stations
            .entry(Station::outlet(receiver.device))
            .or_insert(receiver);
    }
    all
}

/// Frames of a NIC that reach an interface.
#[derive(Clone)]
struct Frames {
    /// Destination addresses that are accepted.
    macs: BTreeSet<Mac>,
    /// VLANs that were removed, the outer one first.
    tags: Vec<TagId>,
    /// Whether it is not certain that they reach it.
    uncertain: bool,
    /// The number of VLANs that were removed before a bridge that filters VLANs. The bridge may remove, add
    /// or refuse further ones.
    filtered_at: Option<usize>,
}

impl Frames {
    fn of(nic: &NicFacts) -> Self {
        Self {
            macs: BTreeSet::from([mac(&nic.link), Station::GROUP]),
            tags: Vec::new(),
            uncertain: false,
            filtered_at: None,
        }
    }

    fn is_uncertain(&self) -> bool {
        self.uncertain || self.filtered_at.is_some_and(|tags| self.tags.len() > tags)
    }

    /// Adds the address of an interface that accepts frames for it.
    fn at(&self, link: &HostLink) -> Self {
        let mut frames = self.clone();
        frames.macs.insert(mac(link));
        frames
    }
}

/// The most VLANs of a frame that the programs can read.
const MAX_VLANS: usize = 2;

struct Walk<'a> {
    facts: &'a [NicFacts],
    nic: u32,
    /// Interfaces on the way: a list that changes while it is read may have circles.
    visited: BTreeSet<u32>,
    stations: &'a mut BTreeMap<Station, Receiver>,
}

impl<'a> Walk<'a> {
    /// Follows frames that arrive at an interface.
    fn receive(&mut self, at: &'a NicFacts, frames: &Frames) {
        if !at.link.up || !self.visited.insert(at.link.ifindex) {
            return;
        }
        for vlan in self.above(at, &["vlan"]) {
            if let Some(tag) = vlan.link.vlan.filter(|_| frames.tags.len() < MAX_VLANS) {
                let mut frames = frames.at(&vlan.link);
                frames.tags.push(tag);
                self.receive(vlan, &frames);
            }
        }
        let taken = self
            .above(at, &["macvlan", "macvtap"])
            .any(|upper| upper.link.passthru);
        match self.master(at) {
            Some(master) => self.receive_port(at, master, frames),
            None if taken => {}
            None => self.take(at, frames),
        }
        let macvlans = self.above(at, &["macvlan"]);
        // By its source, a frame reaches a macvlan in addition to what is below.
        for macvlan in macvlans.filter(|upper| !upper.link.by_source) {
            let macs = BTreeSet::from([mac(&macvlan.link)]);
            self.receive(
                macvlan,
                &Frames {
                    macs,
                    ..frames.clone()
                },
            );
        }
        self.visited.remove(&at.link.ifindex);
    }

    /// Follows frames from a port to the interface that it is a part of.
    fn receive_port(&mut self, port: &NicFacts, master: &'a NicFacts, frames: &Frames) {
        let mut frames = match master.link.kind.as_str() {
            "bridge" => frames.at(&master.link),
            _ => frames.clone(),
        };
        if !matches!(master.link.kind.as_str(), "bond" | "bridge") {
            // Open vSwitch and others decide themselves, and may leave their interface down.
            frames.uncertain = true;
            self.take(master, &frames);
            return;
        }
        frames.uncertain |= port.link.inactive_port;
        if master.link.filters_vlans {
            if takes_untagged(&port.link, &master.link) {
                frames.filtered_at = Some(frames.tags.len());
            } else {
                frames.uncertain = true;
            }
        }
        self.receive(master, &frames);
    }

    /// The IP layer takes the frames from the interface.
    fn take(&mut self, at: &NicFacts, frames: &Frames) {
        let mut tags = <[TagId; MAX_VLANS]>::default();
        for (place, tag) in tags.iter_mut().zip(&frames.tags) {
            *place = *tag;
        }
        let flag = |set, flag| if set { flag } else { 0 };
        let receiver = Receiver {
            device: at.link.ifindex,
            flags: Receiver::ROUTED
                | flag(at.rp_filter == 1, Receiver::STRICT)
                | flag(frames.is_uncertain(), Receiver::UNCERTAIN),
        };
        for mac in &frames.macs {
            let station = Station {
                mac: *mac,
                nic: self.nic,
                tags,
            };
            self.stations.entry(station).or_insert(receiver);
        }
    }

    /// Returns the interfaces of these kinds that are stacked on another.
    fn above<'k>(
        &self,
        lower: &NicFacts,
        kinds: &'k [&str],
    ) -> impl Iterator<Item = &'a NicFacts> + use<'a, 'k> {
        let lower = lower.link.ifindex;
        self.facts.iter().filter(move |upper| {
            let link = &upper.link;
            link.link == Some(lower) && link.link_netns.is_none() && kinds.contains(&link.kind.as_str())
        })
    }

    /// Returns the interface that another is a part of. A VRF concerns only routes.
    fn master(&self, port: &NicFacts) -> Option<&'a NicFacts> {
        let master = port.link.master?;
        self.facts
            .iter()
            .find(|facts| facts.link.ifindex == master && facts.link.kind != "vrf")
    }
}

/// Whether a bridge that filters VLANs delivers untagged frames of a port to itself, without a tag.
fn takes_untagged(port: &HostLink, bridge: &HostLink) -> bool {
    let pvid = port.bridge_vlans.iter().find(|vlan| vlan.pvid);
    let mut own = bridge.bridge_vlans.iter();
    pvid.is_some_and(|pvid| own.any(|vlan| vlan.id == pvid.id && vlan.untagged))
}

fn mac(link: &HostLink) -> Mac {
    link.mac.iter().fold(0, |mac, byte| mac << 8 | Mac::from(*byte))
}

#[cfg(test)]
mod tests;
