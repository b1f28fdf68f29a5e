//! What other CPUs do between two look-ups, and what needs only one.

use rstest::rstest;
use xdp_core::{
    events::{Fallback, FlowEvent},
    flows::{FlowMap, ReplyDecision, is_recent, track_inbound, track_reply},
    testing::{
        FlowMemory,
        wire::{ACK, SYN, WirePacket, WireProtocol},
    },
};

use crate::{SLOT, from_pod, to_pod};

fn opened(v6: bool) -> FlowMemory {
    let memory = FlowMemory::default();
    let syn = WirePacket::new(v6, WireProtocol::Tcp(SYN));
    assert_eq!(
        track_inbound(&to_pod(&syn), SLOT, &memory, || Ok(())),
        Ok(FlowEvent::Opened)
    );
    memory
}

#[rstest]
fn a_flow_that_moves_between_two_look_ups_is_found(#[values(false, true)] v6: bool) {
    let ack = WirePacket::new(v6, WireProtocol::Tcp(ACK));
    let memory = opened(v6);
    memory.moving.set(true);
    assert_eq!(
        track_inbound(&to_pod(&ack), SLOT, &memory, || Ok(())),
        Ok(FlowEvent::Hit)
    );
    assert!(memory.table(FlowMap::Unreplied).is_empty());

    let memory = opened(v6);
    memory.moving.set(true);
    let sent = ReplyDecision::Forward(FlowEvent::ReplyForwarded);
    assert_eq!(track_reply(&from_pod(&ack), &memory), sent);
    // It was the other CPU's packet that moved it.
    assert_eq!(memory.counted(FlowEvent::Established), 0);
}

#[rstest]
fn a_tag_alone_says_what_all_look_ups_would(#[values(false, true)] v6: bool) {
    let ack = to_pod(&WirePacket::new(v6, WireProtocol::Tcp(ACK)));
    let strange = FlowMemory::default();
    assert!(!is_recent(&ack.key, &strange));
    assert_eq!(
        track_inbound(&ack, SLOT, &strange, || Ok(())),
        Err(Fallback::StackFlow)
    );

    // Unreplied, and then answered.
    let memory = opened(v6);
    for _ in 0..2 {
        assert_eq!(track_inbound(&ack, SLOT, &memory, || Ok(())), Ok(FlowEvent::Hit));
        memory.looked_up.set(0);
        assert!(is_recent(&ack.key, &memory));
        assert_eq!(memory.looked_up.get(), 0);
        memory.epoch.set(memory.epoch.get() + 1);
        assert!(!is_recent(&ack.key, &memory));
        memory.establish_all();
    }
    assert_eq!(memory.table(FlowMap::Established).len(), 1);
}
