//! When flows become established, and the shares of pods in the tables.

use std::collections::BTreeMap;

use rstest::rstest;
use xdp_core::{
    events::{Fallback, FlowEvent},
    flows::{
        Direction, FlowMap, FlowPacket, ReplyDecision, is_recent, stack_delivered, track_inbound, track_reply,
    },
    tables::{FlowLimits, FlowShare},
    testing::{
        FlowMemory,
        wire::{ACK, SYN, WirePacket, WireProtocol},
    },
};

use super::{SLOT, from_pod, to_pod};

const FORWARDED: ReplyDecision = ReplyDecision::Forward(FlowEvent::ReplyForwarded);
const DATAGRAMS: [WireProtocol; 2] = [WireProtocol::Udp, WireProtocol::Echo];

fn arrives(wire: &WirePacket, flows: &FlowMemory) -> Result<FlowEvent, Fallback> {
    track_inbound(&to_pod(wire), SLOT, flows, || Ok(()))
}

fn limited(until: u32, opens: u32) -> FlowMemory {
    let flows = FlowMemory::default();
    flows.limits.set(FlowLimits { until, opens });
    flows
}

fn tcp(flags: u8, port: u16) -> WirePacket {
    WirePacket::new(false, WireProtocol::Tcp(flags)).with_port(port)
}

/// A handshake, and the pod's first packet after it.
fn connect(port: u16, flows: &FlowMemory) {
    assert_eq!(arrives(&tcp(SYN, port), flows), Ok(FlowEvent::Opened));
    assert_eq!(track_reply(&from_pod(&tcp(SYN | ACK, port)), flows), FORWARDED);
    assert_eq!(arrives(&tcp(ACK, port), flows), Ok(FlowEvent::Hit));
    assert_eq!(track_reply(&from_pod(&tcp(ACK, port)), flows), FORWARDED);
}

#[rstest]
fn datagrams_are_established_when_the_remote_host_sends_again_after_the_answer(
    #[values(false, true)] v6: bool,
    #[values(0, 1)] protocol: usize,
) {
    let wire = WirePacket::new(v6, DATAGRAMS[protocol]);
    let flows = FlowMemory::default();
    assert_eq!(arrives(&wire, &flows), Ok(FlowEvent::Opened));
    assert_eq!(arrives(&wire, &flows), Ok(FlowEvent::Hit), "no answer yet");
    for _ in 0..3 {
        assert_eq!(track_reply(&from_pod(&wire), &flows), FORWARDED);
        assert_eq!(flows.table(FlowMap::Established), []);
    }
    assert_eq!(arrives(&wire, &flows), Ok(FlowEvent::Hit));
    assert_eq!(flows.table(FlowMap::Established), [(to_pod(&wire).key, SLOT)]);
    assert_eq!(flows.table(FlowMap::Unreplied), []);
    assert_eq!(flows.counted(FlowEvent::Established), 1);
    assert_eq!(track_reply(&from_pod(&wire), &flows), FORWARDED);
}

#[rstest]
fn an_answer_counts_however_late_the_remote_host_sends_again(#[values(0, 1, 5)] epochs: u64) {
    let wire = WirePacket::new(true, WireProtocol::Udp);
    let flows = FlowMemory::default();
    arrives(&wire, &flows).unwrap();
    track_reply(&from_pod(&wire), &flows);
    flows.epoch.set(flows.epoch.get() + epochs);
    assert_eq!(arrives(&wire, &flows), Ok(FlowEvent::Hit));
    assert_eq!(flows.table(FlowMap::Established).len(), 1);
}

#[test]
fn replies_of_an_answered_flow_need_no_look_up() {
    let wire = WirePacket::new(false, WireProtocol::Udp);
    let flows = FlowMemory::default();
    arrives(&wire, &flows).unwrap();
    track_reply(&from_pod(&wire), &flows);
    flows.looked_up.set(0);
    for _ in 0..10 {
        assert_eq!(track_reply(&from_pod(&wire), &flows), FORWARDED);
    }
    assert_eq!(flows.looked_up.get(), 0);
    assert!(
        !is_recent(&to_pod(&wire).key, &flows),
        "the next packet is looked up"
    );
}

#[test]
fn an_error_about_an_answered_flow_confirms_nothing() {
    let wire = WirePacket::new(false, WireProtocol::Udp);
    let error = wire
        .error_about(&wire.reply().frame())
        .flow_packet(Direction::ToPod);
    let flows = FlowMemory::default();
    arrives(&wire, &flows).unwrap();
    track_reply(&from_pod(&wire), &flows);
    let found = track_inbound(&error, SLOT, &flows, || Ok(()));
    assert_eq!(found, Ok(FlowEvent::ErrorIn));
    assert_eq!(flows.table(FlowMap::Established), []);
    arrives(&wire, &flows).unwrap();
    assert_eq!(flows.table(FlowMap::Established).len(), 1);
}

#[test]
fn datagrams_with_forged_sources_establish_nothing_although_the_pod_answers() {
    let flows = FlowMemory::default();
    for port in 1..1000 {
        for protocol in DATAGRAMS {
            let wire = WirePacket::new(true, protocol).with_port(port);
            arrives(&wire, &flows).unwrap();
            assert_eq!(track_reply(&from_pod(&wire), &flows), FORWARDED);
        }
    }
    assert_eq!(flows.table(FlowMap::Established), []);
}

#[test]
fn a_connection_without_room_among_the_established_ones_continues_and_moves_when_there_is_room() {
    let flows = limited(1, 10);
    connect(1, &flows);
    connect(2, &flows);
    assert_eq!(flows.table(FlowMap::Established).len(), 1);
    assert_eq!(flows.table(FlowMap::Unreplied).len(), 1);
    flows.looked_up.set(0);
    for _ in 0..10 {
        assert_eq!(arrives(&tcp(ACK, 2), &flows), Ok(FlowEvent::Hit));
        assert_eq!(track_reply(&from_pod(&tcp(ACK, 2)), &flows), FORWARDED);
    }
    assert_eq!(flows.looked_up.get(), 0, "as for an established flow");
    for until in [1, 2] {
        flows.limits.set(FlowLimits { until, opens: 10 });
        flows.epoch.set(flows.epoch.get() + 2);
        assert_eq!(arrives(&tcp(ACK, 2), &flows), Ok(FlowEvent::Hit));
        assert_eq!(track_reply(&from_pod(&tcp(ACK, 2)), &flows), FORWARDED);
        assert_eq!(flows.table(FlowMap::Established).len(), until as usize);
    }
    assert_eq!(flows.table(FlowMap::Unreplied), []);
}

#[test]
fn flows_that_end_give_their_room_back() {
    let flows = limited(1, 10);
    for port in 1..100 {
        connect(port, &flows);
        assert_eq!(flows.table(FlowMap::Established).len(), 1);
        let again = to_pod(&tcp(SYN, port));
        assert_eq!(
            stack_delivered(&again, || false, &flows),
            Some(FlowEvent::ReclaimedByStack)
        );
    }
}

#[test]
fn opening_packets_beyond_the_limit_of_a_window_pass_and_other_classes_have_their_own() {
    let flows = limited(100, 5);
    let syn = |port| arrives(&tcp(SYN, port), &flows);
    let opened = |found: Vec<_>| {
        found
            .iter()
            .filter(|event| **event == Ok(FlowEvent::Opened))
            .count()
    };
    assert_eq!(opened((1..50).map(syn).collect()), 5);
    assert_eq!(syn(50), Err(Fallback::FlowLimit));
    for protocol in [WireProtocol::Udp, WireProtocol::Echo] {
        let wire = |port| WirePacket::new(false, protocol).with_port(port);
        let found = (1..50).map(|port| arrives(&wire(port), &flows)).collect();
        assert_eq!(opened(found), 5, "{protocol:?}");
    }
    assert_eq!(syn(1), Ok(FlowEvent::Hit), "it is known");
    flows.window.set(flows.window.get() + 1);
    assert_eq!(opened((51..100).map(syn).collect()), 5);
    assert_eq!(flows.share_of(SLOT, 6).refused >> 32, 44 + 1 + 44);
}

#[test]
fn connections_that_are_accepted_do_not_count_as_opened() {
    let flows = limited(1000, 2);
    for port in 1..500 {
        connect(port, &flows);
    }
    assert_eq!(flows.table(FlowMap::Established).len(), 499);
}

/// Counts the entries of each share.
fn entries(flows: &FlowMemory) -> BTreeMap<u32, u64> {
    let mut counts = BTreeMap::new();
    for (key, slot) in flows.table(FlowMap::Established) {
        *counts.entry(FlowShare::index(slot, key.protocol)).or_default() += 1;
    }
    counts
}

fn take(packet: &FlowPacket, slot: u32, step: u32, flows: &FlowMemory) {
    match step {
        0..4 => {
            let _ = track_inbound(packet, slot, flows, || Ok(()));
        }
        4..8 => {
            track_reply(packet, flows);
        }
        _ => {
            stack_delivered(packet, || step == 9, flows);
        }
    }
}

#[test]
fn counts_and_limits_are_exact_whatever_packets_come() {
    const UNTIL: u32 = 3;
    let mut rng = fastrand::Rng::with_seed(14);
    let mut most = 0;
    for _ in 0..300 {
        let flows = limited(UNTIL, 8);
        for _ in 0..400 {
            let port = rng.u16(1..30);
            let protocol = [
                WireProtocol::Udp,
                WireProtocol::Tcp(ACK),
                WireProtocol::Tcp(SYN),
                WireProtocol::Sctp(0),
                WireProtocol::Sctp(1),
            ];
            let wire = WirePacket::new(false, rng.choice(protocol).unwrap()).with_port(port);
            let step = rng.u32(..10);
            let packet = if (4..8).contains(&step) {
                from_pod(&wire)
            } else {
                to_pod(&wire)
            };
            take(&packet, u32::from(port % 2), step, &flows);
            if rng.u8(..20) == 0 {
                flows.epoch.set(flows.epoch.get() + 1);
                flows.window.set(flows.window.get() + 1);
            }
            let held = entries(&flows);
            for (slot, protocol) in [(0, 6), (0, 17), (0, 132), (1, 6), (1, 17), (1, 132)] {
                let share = flows.share_of(slot, protocol);
                let count = held.get(&FlowShare::index(slot, protocol)).copied().unwrap_or(0);
                assert_eq!(share.established, count);
                assert!(count <= u64::from(UNTIL));
                most = most.max(count);
            }
        }
    }
    assert_eq!(most, u64::from(UNTIL), "limits were reached");
}
