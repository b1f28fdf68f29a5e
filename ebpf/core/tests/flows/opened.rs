//! Connections that pods opened, against a plain model of who was first.

use rstest::rstest;
use xdp_core::{
    flows::{
        Direction, FlowPacket, OpenedStore as _, PacketRole, is_noted, is_opened_by_pod,
        may_be_opened_by_pod, note_heard, note_preexisting, note_sent, stack_delivered, stack_sent,
        track_inbound, track_reply,
    },
    tables::{Address, FlowKey, OPENED_SETS},
    testing::{
        FlowMemory,
        wire::{ACK, RST, SYN, WirePacket, WireProtocol},
    },
};

use super::SLOT;

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;
/// Epochs of the tables in a period of this module's memory.
const PERIOD: u64 = 8;

fn to_pod(wire: &WirePacket) -> FlowPacket {
    wire.flow_packet(Direction::ToPod)
}

fn from_pod(wire: &WirePacket) -> FlowPacket {
    wire.reply().flow_packet(Direction::FromPod)
}

/// An echo of the pod has the addresses of one to the pod, in the opposite order.
fn request(wire: &WirePacket) -> FlowPacket {
    wire.flow_packet(Direction::FromPod)
}

fn answer(wire: &WirePacket) -> FlowPacket {
    wire.reply().flow_packet(Direction::ToPod)
}

/// What the pod opens with, and what answers it.
fn conversations(v6: bool) -> Vec<(FlowPacket, Vec<FlowPacket>)> {
    let wire = |protocol| WirePacket::new(v6, protocol);
    let all = |protocols: &[WireProtocol]| protocols.iter().map(|of| to_pod(&wire(*of))).collect();
    let echo = wire(WireProtocol::Echo);
    vec![
        (
            from_pod(&wire(WireProtocol::Tcp(SYN))),
            all(&[SYN | ACK, ACK, RST].map(WireProtocol::Tcp)),
        ),
        (
            from_pod(&wire(WireProtocol::Sctp(INIT))),
            all(&[INIT_ACK, 0, ABORT].map(WireProtocol::Sctp)),
        ),
        (from_pod(&wire(WireProtocol::Udp)), all(&[WireProtocol::Udp])),
        (request(&echo), vec![answer(&echo)]),
    ]
}

#[rstest]
fn answers_to_what_the_pod_opened_are_its_own_and_those_of_strangers_are_not(
    #[values(false, true)] v6: bool,
    #[values(note_sent, |packet: &FlowPacket, flows: &FlowMemory| { let _ = stack_sent(packet, flows); })]
    note: fn(&FlowPacket, &FlowMemory),
) {
    for (opens, answers) in conversations(v6) {
        let flows = FlowMemory::default();
        for answer in &answers {
            assert!(!is_opened_by_pod(answer, &flows), "{answer:?}");
        }
        note(&opens, &flows);
        for answer in &answers {
            assert!(is_opened_by_pod(answer, &flows), "{answer:?}");
            assert!(may_be_opened_by_pod(&answer.key, &flows), "{answer:?}");
            let mut stranger = *answer;
            stranger.key.remote.low ^= 1;
            assert!(!is_opened_by_pod(&stranger, &flows), "{answer:?}");
            let mut neighbour = *answer;
            neighbour.key.pod.low ^= 1;
            assert!(!is_opened_by_pod(&neighbour, &flows), "{answer:?}");
        }
    }
}

#[rstest]
fn errors_about_what_the_pod_sent_are_its_own(#[values(false, true)] v6: bool) {
    for protocol in [
        WireProtocol::Tcp(SYN),
        WireProtocol::Sctp(INIT),
        WireProtocol::Udp,
        WireProtocol::Echo,
    ] {
        let flows = FlowMemory::default();
        let wire = WirePacket::new(v6, protocol);
        // An echo request of the pod has the addresses of one to the pod, in the opposite order.
        let (sent, error) = if protocol == WireProtocol::Echo {
            let error = wire.reply().error_about(&wire.frame());
            (request(&wire), error.flow_packet(Direction::ToPod))
        } else {
            let error = wire.error_about(&wire.reply().frame());
            (from_pod(&wire), error.flow_packet(Direction::ToPod))
        };
        assert_eq!(error.key, sent.key, "{protocol:?}");
        assert!(!is_opened_by_pod(&error, &flows), "{protocol:?}");
        note_sent(&sent, &flows);
        assert!(is_opened_by_pod(&error, &flows), "{protocol:?}");
    }
}

#[test]
fn a_packet_that_opens_a_connection_belongs_to_none_of_the_pods() {
    let flows = FlowMemory::default();
    for opens in [WireProtocol::Tcp(SYN), WireProtocol::Sctp(INIT)] {
        let wire = WirePacket::new(false, opens);
        note_sent(&from_pod(&wire), &flows);
        assert!(!is_opened_by_pod(&to_pod(&wire), &flows));
    }
}

#[test]
fn what_a_pod_answers_or_refuses_opens_nothing() {
    let flows = FlowMemory::default();
    let wire = |protocol| WirePacket::new(false, protocol);
    for protocol in [
        WireProtocol::Tcp(ACK),
        WireProtocol::Tcp(SYN | ACK),
        WireProtocol::Tcp(RST),
        WireProtocol::Sctp(INIT_ACK),
        WireProtocol::Sctp(ABORT),
        WireProtocol::Echo,
        WireProtocol::Other(47),
    ] {
        let packet = from_pod(&wire(protocol));
        note_sent(&packet, &flows);
        assert!(!may_be_opened_by_pod(&packet.key, &flows), "{protocol:?}");
    }
    let error = wire(WireProtocol::Udp).reply();
    let error = error
        .error_about(&wire(WireProtocol::Udp).frame())
        .flow_packet(Direction::FromPod);
    note_sent(&error, &flows);
    assert!(!may_be_opened_by_pod(&error.key, &flows));
}

#[test]
fn a_server_that_answers_datagrams_past_or_through_the_stack_opens_nothing() {
    let datagram = WirePacket::new(false, WireProtocol::Udp);
    let [inward, outward] = [to_pod(&datagram), from_pod(&datagram)];
    let heard: [fn(&FlowPacket, &FlowMemory); 2] = [
        |packet, flows| {
            let _ = stack_delivered(packet, || false, flows);
        },
        |packet, flows| {
            let _ = track_inbound(packet, SLOT, flows, || Ok(()));
        },
    ];
    for heard in heard {
        let flows = FlowMemory::default();
        heard(&inward, &flows);
        flows.evict();
        note_sent(&outward, &flows);
        stack_sent(&outward, &flows);
        assert!(!is_opened_by_pod(&inward, &flows));
    }
    // A tracked flow whose answer takes the stack, because it is too long.
    let flows = FlowMemory::default();
    track_inbound(&inward, SLOT, &flows, || Ok(())).unwrap();
    track_reply(&outward, &flows);
    flows.epoch.set(flows.epoch.get() + 10 * PERIOD);
    stack_sent(&outward, &flows);
    note_sent(&outward, &flows);
    assert!(!is_opened_by_pod(&inward, &flows));
}

#[test]
fn no_number_of_datagrams_displaces_a_connection_and_the_oldest_goes_first() {
    let flows = FlowMemory::default();
    flows.one_set.set(true);
    let connection = from_pod(&WirePacket::new(false, WireProtocol::Tcp(SYN)));
    note_sent(&connection, &flows);
    let datagram = |port| from_pod(&WirePacket::new(false, WireProtocol::Udp).with_port(port));
    for port in 1..=100 {
        flows.epoch.set(flows.epoch.get() + PERIOD / 2);
        note_sent(&datagram(port), &flows);
    }
    let noted = |port| is_noted(&datagram(port).key, &flows);
    assert!(is_noted(&connection.key, &flows));
    assert_eq!([96, 97, 98, 99, 100].map(noted), [false, true, true, true, true]);
}

/// The flow of the packet, with another remote host and other ports.
fn flow(packet: &FlowPacket, number: u32) -> FlowKey {
    FlowKey {
        remote: Address::v4([10, 9, (number >> 8) as u8, number as u8]),
        remote_port: (number >> 16) as u16 ^ 1024,
        ..packet.key
    }
}

#[rstest]
fn what_is_noted_may_be_the_pods_and_hardly_anything_else(
    #[values(WireProtocol::Tcp(SYN), WireProtocol::Udp, WireProtocol::Sctp(INIT))] protocol: WireProtocol,
) {
    const NOTED: u32 = 1000;
    let flows = FlowMemory::default();
    let opens = from_pod(&WirePacket::new(false, protocol));
    for number in 0..NOTED {
        let key = flow(&opens, number);
        note_sent(&FlowPacket { key, ..opens }, &flows);
    }
    let may_be = |number| may_be_opened_by_pod(&flow(&opens, number), &flows);
    for number in 0..NOTED {
        assert!(
            !is_noted(&flow(&opens, number), &flows) || may_be(number),
            "{number}"
        );
    }
    let others = (NOTED..NOTED + 100_000).filter(|number| may_be(*number)).count();
    assert!(others < 3_000, "{others} of 100,000");
}

#[test]
fn what_the_agent_notes_displaces_nothing_in_use() {
    for protocol in [WireProtocol::Tcp(SYN), WireProtocol::Udp] {
        let flows = FlowMemory::default();
        flows.one_set.set(true);
        let opens = from_pod(&WirePacket::new(false, protocol));
        for number in 0..4 {
            let key = flow(&opens, number);
            note_sent(&FlowPacket { key, ..opens }, &flows);
        }
        note_preexisting(&flow(&opens, 9), &flows);
        assert!((0..4).all(|number| is_noted(&flow(&opens, number), &flows)));
        assert!(!is_noted(&flow(&opens, 9), &flows), "{protocol:?}");
    }
}

#[test]
fn a_flow_that_a_remote_host_opened_is_not_the_pods() {
    let flows = FlowMemory::default();
    let datagram = from_pod(&WirePacket::new(false, WireProtocol::Udp));
    note_heard(&datagram.key, &flows);
    note_preexisting(&datagram.key, &flows);
    assert!(!is_noted(&datagram.key, &flows));
}

#[test]
fn a_lost_tag_comes_back_with_the_pods_next_packet() {
    let flows = FlowMemory::default();
    let opens = from_pod(&WirePacket::new(false, WireProtocol::Tcp(SYN)));
    note_sent(&opens, &flows);
    for index in 0..OPENED_SETS / 2 {
        for byte in 0..8 {
            flows.set_opened_tag(index, byte, 0);
        }
    }
    assert!(!may_be_opened_by_pod(&opens.key, &flows));
    note_sent(&from_pod(&WirePacket::new(false, WireProtocol::Tcp(ACK))), &flows);
    assert!(may_be_opened_by_pod(&opens.key, &flows));
}

/// Something that happens to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    PodOpens,
    PodSends,
    StackDeliversOpening,
    StackDelivers,
}

const STEPS: [Step; 4] = [
    Step::PodOpens,
    Step::PodSends,
    Step::StackDeliversOpening,
    Step::StackDelivers,
];

/// The model of a flow: when, in periods, it was last seen as the pod's and as the remote host's.
#[derive(Clone, Copy, Default)]
struct Model {
    own: Option<u64>,
    heard: Option<u64>,
}

fn is_fresh(seen: Option<u64>, now: u64) -> bool {
    seen.is_some_and(|seen| now - seen <= 2)
}

impl Model {
    /// A connection is its opener's.
    fn connection(&mut self, step: Step, now: u64) {
        match step {
            Step::PodOpens => self.own = Some(now),
            Step::StackDeliversOpening => self.own = None,
            Step::PodSends | Step::StackDelivers => {}
        }
    }

    /// Datagrams belong to the side that was first, until both are silent for a while.
    fn datagram(&mut self, step: Step, now: u64) {
        let own = is_fresh(self.own, now);
        match step {
            Step::PodOpens | Step::PodSends if own || !is_fresh(self.heard, now) => self.own = Some(now),
            Step::StackDeliversOpening | Step::StackDelivers if !own => self.heard = Some(now),
            _ => {}
        }
    }
}

fn packet(step: Step, is_udp: bool, port: u16) -> FlowPacket {
    let protocol = match step {
        _ if is_udp => WireProtocol::Udp,
        Step::PodOpens | Step::StackDeliversOpening => WireProtocol::Tcp(SYN),
        Step::PodSends | Step::StackDelivers => WireProtocol::Tcp(ACK),
    };
    let wire = WirePacket::new(port % 4 < 2, protocol).with_port(port);
    match step {
        Step::PodOpens | Step::PodSends => from_pod(&wire),
        Step::StackDeliversOpening | Step::StackDelivers => to_pod(&wire),
    }
}

#[test]
fn a_flow_belongs_to_the_side_that_opened_it() {
    let mut rng = fastrand::Rng::with_seed(4);
    let (mut own, mut others) = (0, 0);
    for _ in 0..500 {
        let flows = FlowMemory::default();
        let mut models = [Model::default(); 12];
        for _ in 0..200 {
            if rng.u8(..8) == 0 {
                flows.epoch.set(flows.epoch.get() + rng.u64(1..=PERIOD));
            }
            let now = flows.epoch.get() / PERIOD;
            let flow = rng.usize(..models.len());
            let is_udp = flow % 2 == 1;
            let step = rng.choice(STEPS).unwrap();
            let seen = packet(step, is_udp, flow as u16);
            match step {
                Step::PodOpens | Step::PodSends => note_sent(&seen, &flows),
                Step::StackDeliversOpening | Step::StackDelivers => {
                    stack_delivered(&seen, || false, &flows);
                }
            }
            let model = &mut models[flow];
            let expected = if is_udp {
                model.datagram(step, now);
                is_fresh(model.own, now)
            } else {
                model.connection(step, now);
                model.own.is_some()
            };
            let asked = packet(Step::StackDelivers, is_udp, flow as u16);
            assert_eq!(is_opened_by_pod(&asked, &flows), expected, "{step:?}");
            *if expected { &mut own } else { &mut others } += 1;
        }
    }
    assert!(own > 10_000 && others > 10_000, "{own} {others}");
}

/// A pod shares its part of the table with few others.
#[test]
fn no_number_of_connections_of_one_pod_displaces_those_of_most_others() {
    let flows = FlowMemory::default();
    let of = |pod: u8, port: u32, role| FlowPacket {
        key: FlowKey {
            remote: Address::v4([192, 0, 2, (port >> 16) as u8]),
            pod: Address::v4([10, 0, 0, pod]),
            remote_port: port as u16,
            pod_port: 443,
            protocol: 6,
        },
        role,
    };
    for pod in 1..=100 {
        note_sent(&of(pod, 1, PacketRole::New), &flows);
    }
    flows.epoch.set(flows.epoch.get() + PERIOD);
    for port in 0..100_000 {
        note_sent(&of(200, port, PacketRole::New), &flows);
    }
    let kept = (1..=100).filter(|pod| is_opened_by_pod(&of(*pod, 1, PacketRole::Data), &flows));
    assert!(kept.count() >= 90);
}
