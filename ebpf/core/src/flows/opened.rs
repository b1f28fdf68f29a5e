//! Connections that pods opened. Their packets are the stack's, whatever the rules say.
//!
//! | who | calls | when |
//! |---|---|---|
//! | the program on the pod's interface, and on the NIC's egress | [`note_sent`] | the pod sends a packet through the stack |
//! | the program on the pod's interface | [`note_delivered`] | the stack delivers a packet to the pod |
//! | the program on the NIC | [`is_opened_by_pod`] | a rule would drop the packet |
//!
//! A connection belongs to the pod if the pod sent its opening packet. Datagrams have none: there it belongs
//! to the side whose datagram was seen first. That a remote host was first is remembered for some minutes, in
//! [`crate::tables::maps::HEARD`]: the answers of a server open nothing. The agent notes the connections that
//! the programs have not seen, as far as the kernel's lists tell ([`note_preexisting`]).
//!
//! [`crate::tables::maps::OPENED`] is a set-associative cache of hashes, so noting a connection takes no
//! lock. Connections and datagrams have places of their own: no number of the one displaces the other.
//!
//! Under a flood, hardly any packet belongs to a connection of the pod. So [`may_be_opened_by_pod`] compares
//! one byte for each way, in [`crate::tables::maps::OPENED_TAGS`]. These are few and dense, and need only a
//! short hash. One in some 30 other packets has the byte of a connection in its set, and is looked up.

mod place;

use self::place::{Entry, Place, TaggedSet, is_connection};
use super::{FlowPacket, OpenedStore, PacketRole};
use crate::{
    parse::protocol,
    tables::{FlowKey, HEARD},
};

/// Whether a remote host was first to send a datagram of the flow, not long ago.
#[inline(always)]
pub(super) fn is_heard(key: &FlowKey, flows: &impl OpenedStore) -> bool {
    let entry = Entry::of(key, flows);
    entry.is_fresh(flows.heard(heard_index(entry)))
}

/// Notes that a remote host was first to send a datagram of the flow.
#[inline(always)]
pub(super) fn hear(key: &FlowKey, flows: &impl OpenedStore) {
    let entry = Entry::of(key, flows);
    let index = heard_index(entry);
    if flows.heard(index) != entry.word() {
        flows.set_heard(index, entry.word());
    }
}

#[inline(always)]
const fn heard_index(entry: Entry) -> u32 {
    entry.index(HEARD)
}

/// Notes the connection of a packet that a pod sends through the stack, if the pod opens it.
#[inline(always)]
pub fn note_sent(packet: &FlowPacket, flows: &impl OpenedStore) {
    let place = Place::of(&packet.key, flows);
    let opens = match packet.role {
        PacketRole::New => true,
        // An echo reply answers.
        PacketRole::Datagram if packet.key.protocol != u32::from(protocol::UDP) => return,
        PacketRole::Datagram | PacketRole::OwnEcho => !is_heard(&packet.key, flows),
        PacketRole::Data | PacketRole::Inconclusive => false,
        PacketRole::Related | PacketRole::Untracked => return,
    };
    if !place.refresh(flows) && opens {
        place.insert(flows);
    }
}

/// Notes a connection that a pod has opened, unless the programs have seen that a remote host did. It
/// displaces no connection that is in use.
pub fn note_preexisting(key: &FlowKey, flows: &impl OpenedStore) {
    let place = Place::of(key, flows);
    let is_others = !is_connection(key.protocol) && is_heard(key, flows);
    if !is_others && !place.refresh(flows) {
        place.insert_if_free(flows);
    }
}

/// Notes a connection that a remote host has opened: what the pod answers opens none.
pub fn note_heard(key: &FlowKey, flows: &impl OpenedStore) {
    if !is_connection(key.protocol) {
        hear(key, flows);
    }
}

/// Notes that the stack delivers a packet to a pod: one that opens a connection ends the pod's own with the
/// same addresses and ports.
#[inline(always)]
pub fn note_delivered(packet: &FlowPacket, flows: &impl OpenedStore) {
    let place = Place::of(&packet.key, flows);
    match packet.role {
        PacketRole::New => place.remove(flows),
        PacketRole::Datagram if place.find(flows).is_none() => hear(&packet.key, flows),
        PacketRole::Datagram
        | PacketRole::Data
        | PacketRole::Inconclusive
        | PacketRole::Related
        | PacketRole::OwnEcho
        | PacketRole::Untracked => {}
    }
}

/// Whether a packet with ports may belong to a connection that the pod opened. Most others do not.
#[inline(always)]
pub fn may_be_opened_by_pod(key: &FlowKey, flows: &impl OpenedStore) -> bool {
    TaggedSet::of(key, flows).is_tagged(flows)
}

/// Whether a connection is noted as one that the pod opened. For packets that open no connection themselves,
/// that is the answer of [`is_opened_by_pod`].
pub fn is_noted(key: &FlowKey, flows: &impl OpenedStore) -> bool {
    Place::of(key, flows).find(flows).is_some()
}

/// Whether a packet to a pod belongs to a connection that the pod opened, or is an error about one. A packet
/// that opens a connection belongs to none.
#[inline(always)]
pub fn is_opened_by_pod(packet: &FlowPacket, flows: &impl OpenedStore) -> bool {
    let place = Place::of(&packet.key, flows);
    match packet.role {
        PacketRole::New | PacketRole::Untracked => false,
        PacketRole::Datagram if packet.key.protocol != u32::from(protocol::UDP) => false,
        PacketRole::Data | PacketRole::Inconclusive => place.refresh(flows),
        PacketRole::Datagram | PacketRole::OwnEcho | PacketRole::Related => place.find(flows).is_some(),
    }
}
