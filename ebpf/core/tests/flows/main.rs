//! Flow tracking: which packets belong to tracked flows, and when flows begin and end.

mod opened;
mod race;
mod rule;
mod share;

use rstest::rstest;
use xdp_core::{
    events::{Fallback, FlowEvent},
    flows::{
        Direction, DrainScope, FlowMap, FlowPacket, PacketRole, ReplyDecision, drains, stack_delivered,
        stack_sent, track_inbound, track_reply,
    },
    testing::{
        FlowMemory,
        wire::{ACK, RST, SYN, WirePacket, WireProtocol},
    },
};

const SLOT: u32 = 7;

fn to_pod(wire: &WirePacket) -> FlowPacket {
    wire.flow_packet(Direction::ToPod)
}

fn from_pod(wire: &WirePacket) -> FlowPacket {
    wire.reply().flow_packet(Direction::FromPod)
}

fn role(wire: &WirePacket, way: Direction) -> PacketRole {
    wire.flow_packet(way).role
}

#[rstest]
fn both_ways_of_a_flow_have_one_key(#[values(false, true)] v6: bool, #[values(0, 2)] tags: usize) {
    for protocol in [
        WireProtocol::Tcp(ACK),
        WireProtocol::Udp,
        WireProtocol::Sctp(0),
        WireProtocol::Echo,
    ] {
        let wire = WirePacket::new(v6, protocol).tagged(tags);
        assert_eq!(to_pod(&wire).key, from_pod(&wire).key, "{protocol:?}");
        assert_eq!(to_pod(&wire).key.remote, wire.remote(), "{protocol:?}");
    }
}

#[rstest]
fn roles_follow_from_the_transport_header(#[values(false, true)] v6: bool) {
    let tcp = |flags| role(&WirePacket::new(v6, WireProtocol::Tcp(flags)), Direction::ToPod);
    assert_eq!(tcp(SYN), PacketRole::New);
    assert_eq!(tcp(ACK), PacketRole::Data);
    for unsettled in [SYN | ACK, RST, RST | ACK, SYN | RST] {
        assert_eq!(tcp(unsettled), PacketRole::Inconclusive, "{unsettled:#x}");
    }
    let sctp = |chunk| role(&WirePacket::new(v6, WireProtocol::Sctp(chunk)), Direction::ToPod);
    let roles = [0, 1, 2, 6, 10].map(sctp);
    assert_eq!(
        roles,
        [
            PacketRole::Data,
            PacketRole::New,
            PacketRole::Inconclusive,
            PacketRole::Inconclusive,
            PacketRole::Data
        ]
    );
    assert_eq!(
        role(&WirePacket::new(v6, WireProtocol::Udp), Direction::ToPod),
        PacketRole::Datagram
    );
    assert_eq!(
        role(&WirePacket::new(v6, WireProtocol::Other(47)), Direction::ToPod),
        PacketRole::Untracked
    );
}

#[rstest]
fn an_echo_belongs_to_the_flow_of_its_request(#[values(false, true)] v6: bool) {
    let request = WirePacket::new(v6, WireProtocol::Echo);
    assert_eq!(role(&request, Direction::ToPod), PacketRole::Datagram);
    assert_eq!(role(&request.reply(), Direction::FromPod), PacketRole::Datagram);
    assert_eq!(
        role(&request, Direction::FromPod),
        PacketRole::OwnEcho,
        "the pod's own request"
    );
    assert_eq!(
        role(&request.reply(), Direction::ToPod),
        PacketRole::OwnEcho,
        "the answer to it"
    );
}

#[rstest]
fn extension_headers_and_options_are_looked_through(
    #[values(false, true)] v6: bool,
    #[values(0, 3)] extra: usize,
) {
    let plain = WirePacket::new(v6, WireProtocol::Tcp(SYN));
    assert_eq!(to_pod(&plain.clone().longer_by(extra)), to_pod(&plain));
}

#[rstest]
fn an_error_belongs_to_the_flow_it_quotes(
    #[values(false, true)] v6: bool,
    #[values(0, 2)] extra: usize,
    #[values(
        WireProtocol::Tcp(ACK),
        WireProtocol::Udp,
        WireProtocol::Sctp(0),
        WireProtocol::Echo
    )]
    protocol: WireProtocol,
) {
    let wire = WirePacket::new(v6, protocol);
    let about = wire.clone().longer_by(extra);
    let quoted = about.reply().frame();
    let inward = wire.error_about(&quoted).flow_packet(Direction::ToPod);
    assert_eq!(
        (inward.role, inward.key),
        (PacketRole::Related, to_pod(&wire).key)
    );
    let outward = wire
        .reply()
        .error_about(&about.frame())
        .flow_packet(Direction::FromPod);
    assert_eq!(
        (outward.role, outward.key),
        (PacketRole::Related, to_pod(&wire).key)
    );
}

#[rstest]
fn an_error_whose_quotation_says_no_flow_belongs_to_none(#[values(false, true)] v6: bool) {
    let wire = WirePacket::new(v6, WireProtocol::Tcp(ACK));
    let none = |quoted: &[u8]| {
        wire.error_about(quoted).flow_packet(Direction::ToPod).key == xdp_core::tables::FlowKey::default()
    };
    let quoted = wire.reply().frame();
    assert!(!none(&quoted));
    let header = if v6 { 54 } else { 34 };
    for length in 14..header + 8 {
        assert!(none(&quoted[..length]), "{length} bytes");
    }
    assert!(
        !none(&quoted[..header + 8]),
        "eight bytes of TCP are what an error has to quote"
    );
    assert!(none(&wire.frame()), "a packet to the pod, not from it");
    assert!(none(&wire.reply().later_fragment().frame()));
    assert!(!none(&wire.reply().first_fragment().frame()));
}

#[test]
fn a_connection_is_tracked_from_its_opening_packet_on() {
    let flows = FlowMemory::default();
    let [syn, ack] = [SYN, ACK].map(|flags| to_pod(&WirePacket::new(false, WireProtocol::Tcp(flags))));
    assert_eq!(
        track_inbound(&ack, SLOT, &flows, || Ok(())),
        Err(Fallback::StackFlow)
    );
    assert_eq!(
        track_inbound(&syn, SLOT, &flows, || Ok(())),
        Ok(FlowEvent::Opened)
    );
    assert_eq!(track_inbound(&ack, SLOT, &flows, || Ok(())), Ok(FlowEvent::Hit));
    assert_eq!(track_inbound(&ack, SLOT, &flows, || Ok(())), Ok(FlowEvent::Hit));
    assert_eq!(flows.table(FlowMap::Unreplied), [(syn.key, SLOT)]);
    assert_eq!(flows.table(FlowMap::Established), []);
}

#[test]
fn a_connection_is_established_when_the_pod_has_accepted_it_and_not_before() {
    let out = |flags| from_pod(&WirePacket::new(false, WireProtocol::Tcp(flags)));
    let flows = FlowMemory::default();
    let syn = to_pod(&WirePacket::new(false, WireProtocol::Tcp(SYN)));
    track_inbound(&syn, SLOT, &flows, || Ok(())).unwrap();
    for refusal in [SYN | ACK, RST, RST | ACK] {
        assert_eq!(
            track_reply(&out(refusal), &flows),
            ReplyDecision::Forward(FlowEvent::ReplyForwarded)
        );
    }
    assert_eq!(flows.table(FlowMap::Established), []);
    for _ in 0..2 {
        assert_eq!(
            track_reply(&out(ACK), &flows),
            ReplyDecision::Forward(FlowEvent::ReplyForwarded)
        );
    }
    assert_eq!(flows.table(FlowMap::Established), [(syn.key, SLOT)]);
    assert_eq!(flows.table(FlowMap::Unreplied), []);
    assert_eq!(flows.counted(FlowEvent::Established), 1);
}

#[test]
fn a_flood_of_opening_packets_that_are_answered_establishes_nothing() {
    let flows = FlowMemory::default();
    for port in 1..1000 {
        let wire = WirePacket::new(true, WireProtocol::Tcp(SYN)).with_port(port);
        track_inbound(&to_pod(&wire), SLOT, &flows, || Ok(())).unwrap();
        let answer = WirePacket::new(true, WireProtocol::Tcp(SYN | ACK)).with_port(port);
        assert_eq!(
            track_reply(&from_pod(&answer), &flows),
            ReplyDecision::Forward(FlowEvent::ReplyForwarded)
        );
    }
    assert_eq!(flows.table(FlowMap::Established), []);
}

#[rstest]
fn the_stack_reclaims_a_flow_when_it_delivers_an_opening_packet(
    #[values(
        WireProtocol::Tcp(SYN),
        WireProtocol::Udp,
        WireProtocol::Sctp(1),
        WireProtocol::Echo
    )]
    protocol: WireProtocol,
    #[values(false, true)] answered: bool,
) {
    let flows = FlowMemory::default();
    let opening = WirePacket::new(false, protocol);
    track_inbound(&to_pod(&opening), SLOT, &flows, || Ok(())).unwrap();
    let following = match protocol {
        WireProtocol::Tcp(_) => WireProtocol::Tcp(ACK),
        WireProtocol::Sctp(_) => WireProtocol::Sctp(0),
        WireProtocol::Udp | WireProtocol::Echo | WireProtocol::Other(_) => protocol,
    };
    let following = WirePacket::new(false, following);
    if answered {
        track_reply(&from_pod(&following), &flows);
    }
    let taken = stack_delivered(&to_pod(&opening), || false, &flows);
    assert_eq!(taken, Some(FlowEvent::ReclaimedByStack));
    assert_eq!(
        track_reply(&from_pod(&following), &flows),
        ReplyDecision::Stack(FlowEvent::ReplyMiss)
    );
}

#[test]
fn established_flows_move_to_the_stack_only_when_the_pod_is_drained() {
    let flows = FlowMemory::default();
    let [syn, ack] = [SYN, ACK].map(|flags| to_pod(&WirePacket::new(false, WireProtocol::Tcp(flags))));
    track_inbound(&syn, SLOT, &flows, || Ok(())).unwrap();
    assert_eq!(stack_delivered(&ack, || false, &flows), None);
    assert_eq!(track_inbound(&ack, SLOT, &flows, || Ok(())), Ok(FlowEvent::Hit));
    assert_eq!(stack_delivered(&ack, || true, &flows), Some(FlowEvent::Deleted));
    assert_eq!(
        track_inbound(&ack, SLOT, &flows, || Ok(())),
        Err(Fallback::StackFlow)
    );
}

#[test]
fn a_pod_that_opens_a_connection_itself_ends_the_flow_with_its_ports() {
    let flows = FlowMemory::default();
    let syn = WirePacket::new(false, WireProtocol::Tcp(SYN));
    track_inbound(&to_pod(&syn), SLOT, &flows, || Ok(())).unwrap();
    assert_eq!(
        track_reply(&from_pod(&syn), &flows),
        ReplyDecision::Stack(FlowEvent::Deleted)
    );
    assert_eq!(
        track_reply(&from_pod(&syn), &flows),
        ReplyDecision::Stack(FlowEvent::ReplyMiss)
    );
    let answer = to_pod(&WirePacket::new(false, WireProtocol::Tcp(SYN | ACK)));
    assert_eq!(
        track_inbound(&answer, SLOT, &flows, || Ok(())),
        Err(Fallback::StackFlow)
    );
}

#[test]
fn the_stack_keeps_a_flow_that_a_pod_opened_even_if_it_was_tracked_by_mistake() {
    let flows = FlowMemory::default();
    let udp = WirePacket::new(true, WireProtocol::Udp);
    // The answer arrives before the program on the NIC has recorded the flow.
    assert_eq!(
        track_inbound(&to_pod(&udp), SLOT, &flows, || Ok(())),
        Ok(FlowEvent::Opened)
    );
    assert_eq!(
        stack_sent(&from_pod(&udp), &flows),
        Some(FlowEvent::StackFlowNoted)
    );
    assert_eq!(stack_sent(&from_pod(&udp), &flows), None);
    assert_eq!(
        track_inbound(&to_pod(&udp), SLOT, &flows, || Ok(())),
        Err(Fallback::StackFlow)
    );
    assert_eq!(flows.table(FlowMap::Unreplied), []);
}

#[test]
fn a_flow_that_cannot_be_inserted_is_the_stacks() {
    let flows = FlowMemory::default();
    flows.full.set(true);
    let syn = to_pod(&WirePacket::new(false, WireProtocol::Tcp(SYN)));
    assert_eq!(
        track_inbound(&syn, SLOT, &flows, || Ok(())),
        Err(Fallback::StackFlow)
    );
    assert_eq!(flows.counted(FlowEvent::InsertFailed), 1);
}

#[rstest]
fn icmp_errors_about_tracked_flows_are_delivered_whatever_rules_say(
    #[values(false, true)] v6: bool,
    #[values(false, true)] answered: bool,
) {
    let flows = FlowMemory::default();
    let udp = WirePacket::new(v6, WireProtocol::Udp);
    let error = udp
        .error_about(&udp.reply().frame())
        .flow_packet(Direction::ToPod);
    let refusal = udp
        .reply()
        .error_about(&udp.frame())
        .flow_packet(Direction::FromPod);
    assert_eq!(
        track_inbound(&error, SLOT, &flows, || Ok(())),
        Err(Fallback::StackFlow)
    );
    assert_eq!(drains(&error, DrainScope::IcmpErrors, SLOT, &flows), None);
    assert_eq!(
        track_reply(&refusal, &flows),
        ReplyDecision::Stack(FlowEvent::ReplyMiss)
    );
    track_inbound(&to_pod(&udp), SLOT, &flows, || Ok(())).unwrap();
    assert_eq!(
        track_reply(&refusal, &flows),
        ReplyDecision::Forward(FlowEvent::ReplyIcmpError)
    );
    assert_eq!(flows.table(FlowMap::Established), [], "a refusal accepts nothing");
    if answered {
        track_reply(&from_pod(&udp), &flows);
    }
    assert_eq!(
        track_inbound(&error, SLOT, &flows, || Ok(())),
        Ok(FlowEvent::ErrorIn)
    );
    assert_eq!(
        drains(&error, DrainScope::IcmpErrors, SLOT, &flows),
        Some(FlowEvent::ErrorIn)
    );
    assert_eq!(drains(&to_pod(&udp), DrainScope::IcmpErrors, SLOT, &flows), None);
}

#[test]
fn a_pod_without_policies_keeps_its_established_flows() {
    let flows = FlowMemory::default();
    let [syn, ack] = [SYN, ACK].map(|flags| WirePacket::new(false, WireProtocol::Tcp(flags)));
    track_inbound(&to_pod(&syn), SLOT, &flows, || Ok(())).unwrap();
    let drained = || drains(&to_pod(&ack), DrainScope::Established, SLOT, &flows);
    assert_eq!(drained(), None);
    track_reply(&from_pod(&ack), &flows);
    assert_eq!(drained(), Some(FlowEvent::Drained));
    stack_delivered(&to_pod(&ack), || true, &flows);
    assert_eq!(drained(), None);
}

#[test]
fn protocols_without_a_reply_path_are_the_stacks() {
    let flows = FlowMemory::default();
    for wire in [
        WirePacket::new(false, WireProtocol::Other(47)),
        WirePacket::new(true, WireProtocol::Other(50)),
    ] {
        assert_eq!(
            track_inbound(&to_pod(&wire), SLOT, &flows, || Ok(())),
            Err(Fallback::UntrackedProtocol)
        );
    }
    let reply = WirePacket::new(false, WireProtocol::Echo).reply();
    assert_eq!(
        track_inbound(&reply.flow_packet(Direction::ToPod), SLOT, &flows, || Ok(())),
        Err(Fallback::UntrackedProtocol)
    );
}

#[test]
fn a_flow_in_use_is_looked_up_once_in_an_epoch() {
    let flows = FlowMemory::default();
    let udp = WirePacket::new(false, WireProtocol::Udp);
    track_inbound(&to_pod(&udp), SLOT, &flows, || Ok(())).unwrap();
    track_reply(&from_pod(&udp), &flows);
    track_inbound(&to_pod(&udp), SLOT, &flows, || Ok(())).unwrap();
    flows.looked_up.set(0);
    for _ in 0..10 {
        track_inbound(&to_pod(&udp), SLOT, &flows, || Ok(())).unwrap();
        track_reply(&from_pod(&udp), &flows);
    }
    assert_eq!(flows.looked_up.get(), 0);
    flows.epoch.set(flows.epoch.get() + 1);
    track_inbound(&to_pod(&udp), SLOT, &flows, || Ok(())).unwrap();
    track_inbound(&to_pod(&udp), SLOT, &flows, || Ok(())).unwrap();
    assert_eq!(flows.looked_up.get(), 1);
}

#[test]
fn a_flow_that_is_evicted_while_it_is_in_use_is_restored() {
    let flows = FlowMemory::default();
    let [syn, ack] = [SYN, ACK].map(|flags| WirePacket::new(false, WireProtocol::Tcp(flags)));
    track_inbound(&to_pod(&syn), SLOT, &flows, || Ok(())).unwrap();
    track_reply(&from_pod(&ack), &flows);
    flows.evict();
    flows.epoch.set(flows.epoch.get() + 1);
    assert_eq!(
        track_inbound(&to_pod(&ack), SLOT, &flows, || Ok(())),
        Ok(FlowEvent::Hit)
    );
    assert_eq!(flows.table(FlowMap::Unreplied), [(to_pod(&syn).key, SLOT)]);
    assert_eq!(flows.counted(FlowEvent::Restored), 1);
    track_reply(&from_pod(&ack), &flows);
    assert_eq!(flows.table(FlowMap::Established), [(to_pod(&syn).key, SLOT)]);
    flows.evict();
    flows.epoch.set(flows.epoch.get() + 2);
    assert_eq!(
        track_inbound(&to_pod(&ack), SLOT, &flows, || Ok(())),
        Err(Fallback::StackFlow)
    );
}

#[test]
fn a_flow_that_was_deleted_is_not_restored() {
    let flows = FlowMemory::default();
    let [syn, ack] = [SYN, ACK].map(|flags| WirePacket::new(false, WireProtocol::Tcp(flags)));
    track_inbound(&to_pod(&syn), SLOT, &flows, || Ok(())).unwrap();
    track_reply(&from_pod(&ack), &flows);
    flows.epoch.set(flows.epoch.get() + 1);
    stack_delivered(&to_pod(&syn), || false, &flows);
    assert_eq!(
        track_inbound(&to_pod(&ack), SLOT, &flows, || Ok(())),
        Err(Fallback::StackFlow)
    );
}
