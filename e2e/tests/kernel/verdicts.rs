//! The effect of each action that the program returns.

use xdp_lab::bpf::{
    BpfAttachType, XDP_FLAGS_DRV_MODE, {self},
};

use crate::{
    fixture::{Fixture, NIC_MAC, POD_MAC, XDP_ABORTED, XDP_TX, pass, redirect},
    programs::{Programs, Tracer},
    shared::{ProbePlan, TraceEvent},
    wait,
    wire::{
        frame, tagged, {self},
    },
};

const PACKET_HOST: u32 = 0;
const PACKET_OTHERHOST: u32 = 3;
const XDP_DROP: u32 = 1;
const UNKNOWN_ACTION: u32 = 77;

#[test]
fn xdp_tx_sends_the_packet_back_with_its_changes() {
    let answer = wire::header([2, 0, 0, 0, 0, 0x99]);
    let mut fixture = Fixture::passing(ProbePlan {
        action: XDP_TX,
        tail: -4,
        header: answer,
        ..pass()
    });
    // Takes the place of the switch. `veth_xdp_flush` wakes the other end of the veth only if it has a
    // program.
    let mut switch = Programs::load();
    switch.plan(pass());
    let (program, g0) = (switch.xdp(), fixture.g0);
    let _link = fixture
        .client
        .run(|| bpf::link_create(program, g0, BpfAttachType::Xdp, XDP_FLAGS_DRV_MODE))
        .unwrap();
    fixture.send(1);
    let back = wait::until("the packet came back", || fixture.wire.receive());
    assert_eq!(back, frame([2, 0, 0, 0, 0, 0x99], 60));
    assert_eq!(fixture.programs.records_so_far().len(), 0);
}

#[test]
fn aborted_and_unknown_actions_are_reported_as_exceptions_and_dropped() {
    for action in [XDP_ABORTED, UNKNOWN_ACTION] {
        let mut tracer = Tracer::start();
        let mut fixture = Fixture::passing(ProbePlan { action, ..pass() });
        fixture.send(2);
        let expected = TraceEvent {
            kind: TraceEvent::EXCEPTION,
            from: fixture.nic,
            action,
            ..TraceEvent::default()
        };
        assert_eq!(tracer.events_after(fixture.nic, 2), [expected; 2]);
        assert_nothing_but_a_later_packet_arrives(&mut fixture);
    }
}

#[test]
fn a_drop_is_no_exception() {
    let mut tracer = Tracer::start();
    let mut fixture = Fixture::passing(ProbePlan {
        action: XDP_DROP,
        ..pass()
    });
    fixture.send(2);
    fixture.programs.seen_after(2);
    assert_nothing_but_a_later_packet_arrives(&mut fixture);
    assert_eq!(tracer.events(fixture.nic), []);
}

#[test]
fn a_redirected_packet_with_a_foreign_destination_address_is_for_another_host() {
    let mut fixture = Fixture::redirecting(ProbePlan {
        header: [0; 14],
        ..redirect()
    });
    fixture.send(1);
    let record = fixture.programs.record();
    assert_eq!(record.bytes[..6], NIC_MAC);
    assert_eq!(record.kind, PACKET_OTHERHOST);

    fixture.programs.plan(redirect());
    fixture.send(1);
    let record = fixture.programs.record();
    assert_eq!(record.bytes[..6], POD_MAC);
    assert_eq!(record.kind, PACKET_HOST);
}

#[test]
fn a_vlan_tag_is_in_band_for_xdp_and_out_of_band_for_the_pods_tcx() {
    const VLAN: u16 = 100;
    let mut fixture = Fixture::redirecting(ProbePlan {
        meta: -8,
        value: 42,
        header: [0; 14],
        ..redirect()
    });
    fixture.wire.send(&tagged(&frame(NIC_MAC, 64), VLAN));
    // The program saw four bytes more than the pod.
    assert_eq!(fixture.programs.seen_after(1).length, 68);
    let record = fixture.programs.record();
    assert_eq!(
        (record.vlan_present, record.vlan_tci & 0xfff),
        (1, u32::from(VLAN))
    );
    assert_eq!(record.bytes[..64], frame(NIC_MAC, 64));
    assert_eq!((record.metadata, record.value), (8, 42));
}

/// Checks that no earlier packet arrives: a packet that passes afterwards is the first one.
fn assert_nothing_but_a_later_packet_arrives(fixture: &mut Fixture) {
    fixture.programs.plan(pass());
    fixture.send(1);
    fixture.programs.record();
    assert_eq!(fixture.programs.read(), 1);
}
