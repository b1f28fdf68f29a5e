//! Flows: whatever packets come in whatever order, nothing panics, a packet touches no flow but its own, and
//! a packet passes the rules as one of a connection that the pod opened only if the pod did open it.
//!
//! An input is a sequence of steps of eight bytes: what happens, the packet, and up to two bytes of it that
//! are changed.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use libfuzzer_sys::fuzz_target;
use xdp_core::{
    events::FlowEvent,
    flows::{
        Direction, FlowMap, FlowPacket, PacketRole, ReplyDecision, TransportView, is_opened_by_pod,
        note_sent, stack_delivered, stack_sent, track_inbound, track_reply,
    },
    parse::{Bytes, parse},
    tables::{Address, FlowKey, FlowShare},
    testing::{
        FlowMemory, SLOT,
        wire::{ACK, RST, SYN, WirePacket, WireProtocol},
    },
};

const STEP: usize = 8;
const KINDS: [WireProtocol; 9] = [
    WireProtocol::Tcp(SYN),
    WireProtocol::Tcp(SYN | ACK),
    WireProtocol::Tcp(ACK),
    WireProtocol::Tcp(RST),
    WireProtocol::Udp,
    WireProtocol::Sctp(1),
    WireProtocol::Sctp(0),
    WireProtocol::Echo,
    WireProtocol::Other(47),
];

/// One of each class of flows.
const PROTOCOLS: [u32; 3] = [6, 17, 132];

/// What the tables must agree with, without hashes, epochs and bounds.
#[derive(Default)]
struct Model {
    /// Flows in which the pod sent something that opens a connection, or a datagram.
    sent: BTreeSet<FlowKey>,
    /// Connections whose last opening packet came from the pod.
    opened: BTreeSet<FlowKey>,
}

impl Model {
    fn pod_sends(&mut self, packet: &FlowPacket) {
        if !matches!(packet.role, PacketRole::Untracked | PacketRole::Related) {
            self.sent.insert(packet.key);
        }
        if packet.role == PacketRole::New {
            self.opened.insert(packet.key);
        }
    }

    /// The stack delivers a packet to the pod.
    fn delivered(&mut self, packet: &FlowPacket) {
        if packet.role == PacketRole::New {
            self.opened.remove(&packet.key);
        }
    }

    fn check(&self, packet: &FlowPacket, flows: &FlowMemory) {
        let opened = is_opened_by_pod(packet, flows);
        let key = &packet.key;
        assert!(
            !opened || self.sent.contains(key),
            "the pod sent nothing: {packet:?}"
        );
        if matches!(packet.role, PacketRole::Data | PacketRole::Inconclusive) {
            assert_eq!(opened, self.opened.contains(key), "{packet:?}");
        }
        if packet.role == PacketRole::New {
            assert!(!opened, "{packet:?}");
        }
    }
}

/// Returns the packet of a step, and the address of the pod that it is from or for.
fn packet(step: [u8; STEP - 1], direction: Direction) -> Option<(FlowPacket, Address)> {
    let [kind, shape, port, at, value, at_too, value_too] = step;
    let kind = KINDS[usize::from(kind) % KINDS.len()];
    let mut wire = WirePacket::new(shape & 1 != 0, kind)
        .tagged(usize::from(shape >> 1 & 1))
        .longer_by(usize::from(shape >> 2 & 1))
        .with_port(u16::from(port % 4) + 1);
    if (shape & 8 != 0) != (direction == Direction::FromPod) {
        wire = wire.reply();
    }
    if shape & 16 != 0 {
        wire = wire.error_about(&wire.reply().frame());
    }
    let mut frame = wire.frame();
    for (at, value) in [(at, value), (at_too, value_too)] {
        if let Some(byte) = frame.get_mut(usize::from(at)) {
            *byte ^= value;
        }
    }
    let bytes = frame.as_slice();
    let parsed = parse(bytes).ok()?;
    let view = TransportView::of(bytes, &parsed);
    let pod = if direction == Direction::FromPod {
        parsed.source
    } else {
        parsed.destination
    };
    assert!(bytes.length() >= parsed.ip_offset());
    Some((FlowPacket::of(bytes, &view, direction), pod))
}

fn tables(flows: &FlowMemory) -> BTreeMap<(FlowMap, FlowKey), u32> {
    let all = [FlowMap::Established, FlowMap::Unreplied, FlowMap::Stack];
    let of = |map: FlowMap| {
        flows
            .table(map)
            .into_iter()
            .map(move |(key, slot)| ((map, key), slot))
    };
    all.into_iter().flat_map(of).collect()
}

fn take(step: [u8; STEP], flows: &FlowMemory, model: &mut Model) {
    let [event, step @ ..] = step;
    let direction = if event % 6 < 3 {
        Direction::ToPod
    } else {
        Direction::FromPod
    };
    let Some((packet, pod)) = packet(step, direction) else {
        return;
    };
    let before = tables(flows);
    match event % 6 {
        0 => {
            let tracked = track_inbound(&packet, SLOT, flows, || Ok(()));
            if tracked == Ok(FlowEvent::Hit) {
                let known = [FlowMap::Established, FlowMap::Unreplied].map(|map| (map, packet.key));
                assert!(known.iter().any(|flow| before.contains_key(flow)), "{packet:?}");
            }
        }
        1 => {
            model.delivered(&packet);
            let _ = stack_delivered(&packet, || event & 64 != 0, flows);
        }
        2 => model.check(&packet, flows),
        3 => {
            let decision = track_reply(&packet, flows);
            if matches!(decision, ReplyDecision::Stack(_)) {
                model.pod_sends(&packet);
                note_sent(&packet, flows);
            }
        }
        4 => {
            model.pod_sends(&packet);
            let _ = stack_sent(&packet, flows);
        }
        _ => flows.epoch.set(flows.epoch.get() + u64::from(event >> 4)),
    }
    let is_own = |key: &FlowKey| *key == packet.key && (key.pod == pod || packet.role == PacketRole::Related);
    let after = tables(flows);
    for (flow, slot) in before.iter().chain(&after) {
        let unchanged = before.get(flow) == Some(slot) && after.get(flow) == Some(slot);
        assert!(unchanged || is_own(&flow.1), "{packet:?} changed {flow:?}");
        assert_ne!(flow.1.protocol, 0, "a flow of nothing");
    }
    check_shares(&after, flows);
}

/// The shares count the established flows, whatever happens to these.
fn check_shares(tables: &BTreeMap<(FlowMap, FlowKey), u32>, flows: &FlowMemory) {
    for protocol in PROTOCOLS {
        let share = FlowShare::index(SLOT, protocol);
        let is_counted = |((map, key), slot): &(&(FlowMap, FlowKey), &u32)| {
            *map == FlowMap::Established && FlowShare::index(**slot, key.protocol) == share
        };
        let held = tables.iter().filter(is_counted).count();
        assert_eq!(
            flows.share_of(SLOT, protocol).established,
            held as u64,
            "{protocol}"
        );
    }
}

fuzz_target!(|input: &[u8]| {
    let (flows, mut model) = (FlowMemory::default(), Model::default());
    for step in input.as_chunks::<STEP>().0.iter().take(64) {
        take(*step, &flows, &mut model);
    }
});
