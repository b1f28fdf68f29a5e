//! The owner rule, told as it is: of all that happened to a flow, the last thing that opened it says whose it is.

use xdp_core::{
    events::Fallback,
    flows::{Direction, ReplyDecision, stack_delivered, stack_sent, track_inbound, track_reply},
    testing::wire::{ACK, RST, SYN, WirePacket, WireProtocol},
};

use super::{SLOT, memory::Memory};

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

/// Whether a connection is ours after all this.
fn connection_is_ours(history: &[Step]) -> bool {
    let opening = history.iter().rev().find(|step| {
        matches!(
            step,
            Step::Arrives(true) | Step::Delivered(true) | Step::Sent(true)
        )
    });
    opening == Some(&Step::Arrives(true))
}

/// Whether datagrams are, of which each may be the first: those of a pod that went through the stack are theirs for good.
fn datagrams_are_ours(history: &[Step]) -> bool {
    let mut ours = false;
    let mut theirs = false;
    for step in history {
        match step {
            Step::Arrives(_) => ours = !theirs,
            Step::Delivered(_) => ours = false,
            Step::Sent(_) if !ours => theirs = true,
            Step::Sent(_) | Step::Refused | Step::Time => {}
        }
    }
    ours
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
fn carry_out(step: Step, wire: &WirePacket, is_udp: bool, flows: &Memory) -> Option<bool> {
    let to_pod = wire.flow_packet(Direction::ToPod);
    let from_pod = wire.reply().flow_packet(Direction::FromPod);
    match step {
        Step::Arrives(_) => {
            let taken = track_inbound(&to_pod, SLOT, flows);
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
            flows.epoch.set(flows.epoch.get() + 1);
            None
        }
    }
}

#[test]
fn the_last_opening_packet_says_whose_a_flow_is() {
    let mut rng = fastrand::Rng::with_seed(6);
    let mut past_the_stack = 0;
    for _ in 0..2000 {
        let flows = Memory::default();
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
            let ours = if is_udp {
                datagrams_are_ours
            } else {
                connection_is_ours
            };
            // What is sent goes by what was; what arrives may make the flow ours.
            let expected = match step {
                Step::Sent(true) if !is_udp => false,
                Step::Sent(_) | Step::Refused => ours(&before),
                Step::Arrives(_) | Step::Delivered(_) | Step::Time => ours(&histories[flow]),
            };
            if let Some(past) = carry_out(step, &wire, is_udp, &flows) {
                assert_eq!(past, expected, "{step:?} after {before:?}, udp: {is_udp}");
                past_the_stack += usize::from(past);
            }
        }
    }
    assert!(past_the_stack > 10_000, "{past_the_stack}");
}
