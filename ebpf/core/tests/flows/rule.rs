//! The rule that decides which path a flow takes, as a model: the last opening packet of a flow decides.

use xdp_core::{
    events::Fallback,
    flows::{Direction, ReplyDecision, stack_delivered, stack_sent, track_inbound, track_reply},
    testing::{
        FlowMemory,
        wire::{ACK, RST, SYN, WirePacket, WireProtocol},
    },
};

use super::SLOT;

/// Something that happens to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A packet comes to a NIC. `true`: one that opens.
    Arrives(bool),
    /// The stack delivers one.
    Delivered(bool),
    /// The pod sends one.
    Sent(bool),
    /// A refusal.
    Refused,
    /// Some seconds pass.
    Time,
}

const LAST_EPOCH: u64 = 1_010;

const STEPS: [Step; 8] = [
    Step::Arrives(true),
    Step::Arrives(false),
    Step::Delivered(true),
    Step::Delivered(false),
    Step::Sent(true),
    Step::Sent(false),
    Step::Refused,
    Step::Time,
];

/// Whether a connection is tracked after all this.
fn connection_is_tracked(history: &[Step]) -> bool {
    let opening = history.iter().rev().find(|step| {
        matches!(
            step,
            Step::Arrives(true) | Step::Delivered(true) | Step::Sent(true)
        )
    });
    opening == Some(&Step::Arrives(true))
}

/// Whether a flow of datagrams is tracked. Each datagram to the pod may be the first. If the pod sent the
/// first one, through the stack, the flow is the stack's from then on.
fn datagrams_are_tracked(history: &[Step]) -> bool {
    let mut tracked = false;
    let mut heard = false;
    let mut of_stack = false;
    for step in history {
        heard |= matches!(step, Step::Arrives(_) | Step::Delivered(_));
        match step {
            Step::Arrives(_) => tracked = !of_stack,
            Step::Delivered(_) => tracked = false,
            Step::Sent(_) if !heard => of_stack = true,
            Step::Sent(_) | Step::Refused | Step::Time => {}
        }
    }
    tracked
}

fn tcp(step: Step, port: u16) -> WirePacket {
    let flags = match step {
        Step::Arrives(true) | Step::Delivered(true) | Step::Sent(true) => SYN,
        Step::Refused => RST | ACK,
        Step::Arrives(false) | Step::Delivered(false) | Step::Sent(false) | Step::Time => ACK,
    };
    WirePacket::new(false, WireProtocol::Tcp(flags)).with_port(port)
}

/// Carries a step out; whether its packet took the way past the stack, if it has one.
fn carry_out(step: Step, wire: &WirePacket, is_udp: bool, flows: &FlowMemory) -> Option<bool> {
    let to_pod = wire.flow_packet(Direction::ToPod);
    let from_pod = wire.reply().flow_packet(Direction::FromPod);
    match step {
        Step::Arrives(_) => {
            let taken = track_inbound(&to_pod, SLOT, flows, || Ok(()));
            assert!(matches!(taken, Ok(_) | Err(Fallback::StackFlow)), "{taken:?}");
            Some(taken.is_ok())
        }
        Step::Delivered(_) => {
            stack_delivered(&to_pod, || false, flows);
            None
        }
        Step::Refused if is_udp => None,
        Step::Sent(_) | Step::Refused => {
            let out = matches!(track_reply(&from_pod, flows), ReplyDecision::Forward(_));
            if is_udp && !out {
                stack_sent(&from_pod, flows);
            }
            Some(out)
        }
        Step::Time => {
            // So few that it is remembered who was first.
            flows.epoch.set((flows.epoch.get() + 1).min(LAST_EPOCH));
            None
        }
    }
}

#[test]
fn the_last_opening_packet_decides_the_path_of_a_flow() {
    let mut rng = fastrand::Rng::with_seed(6);
    let mut past_the_stack = 0;
    for _ in 0..2000 {
        let flows = FlowMemory::default();
        // More flows than places for their tags.
        let mut histories = vec![Vec::new(); 12];
        for _ in 0..100 {
            let flow = rng.usize(..histories.len());
            let is_udp = flow % 2 == 1;
            let step = rng.choice(STEPS).unwrap();
            let port = 1000 + flow as u16;
            let wire = if is_udp {
                WirePacket::new(true, WireProtocol::Udp).with_port(port)
            } else {
                tcp(step, port)
            };
            let before = histories[flow].clone();
            histories[flow].push(step);
            let tracked = if is_udp {
                datagrams_are_tracked
            } else {
                connection_is_tracked
            };
            // A packet from the pod follows the state before it. A packet to the pod may open the flow.
            let expected = match step {
                Step::Sent(true) if !is_udp => false,
                Step::Sent(_) | Step::Refused => tracked(&before),
                Step::Arrives(_) | Step::Delivered(_) | Step::Time => tracked(&histories[flow]),
            };
            if let Some(past) = carry_out(step, &wire, is_udp, &flows) {
                assert_eq!(past, expected, "{step:?} after {before:?}, udp: {is_udp}");
                past_the_stack += usize::from(past);
            }
        }
    }
    assert!(past_the_stack > 10_000, "{past_the_stack}");
}
