//! Metadata from the XDP program to the skb.

use xdp_lab::bpf::{
    XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, {self},
};

use crate::{
    fixture::{Fixture, NIC_MAC, POD_MAC, pass, redirect},
    shared::ProbePlan,
    wait,
    wire::{
        frame, {self},
    },
};

const VALUE: u64 = 0x1122_3344_5566_7788;

#[test]
fn metadata_written_before_pass_is_in_the_skb_on_the_nic() {
    let mut fixture = Fixture::passing(ProbePlan {
        meta: -8,
        value: VALUE,
        ..pass()
    });
    fixture.send(1);
    let record = fixture.programs.record();
    assert_eq!((record.metadata, record.value), (8, VALUE));
    assert_eq!(record.ifindex, fixture.nic);
}

#[test]
fn a_passed_packet_without_adjust_meta_has_no_metadata() {
    let mut fixture = Fixture::passing(pass());
    fixture.send(1);
    assert_eq!(fixture.programs.record().metadata, 0);
}

#[test]
fn metadata_written_before_redirect_is_in_the_pods_skb() {
    let mut fixture = Fixture::redirecting(ProbePlan {
        meta: -16,
        value: VALUE,
        ..redirect()
    });
    fixture.send(1);
    let record = fixture.programs.record();
    assert_eq!((record.metadata, record.value), (16, VALUE));
    assert_eq!(record.ifindex, fixture.eth0);
    assert_eq!(record.bytes[..64], frame(POD_MAC, 64));
}

#[test]
fn a_redirected_packet_without_adjust_meta_has_no_metadata() {
    let mut fixture = Fixture::redirecting(redirect());
    fixture.send(1);
    assert_eq!(fixture.programs.record().metadata, 0);
}

#[test]
fn generic_mode_delivers_redirected_packets_without_their_metadata() {
    let mut fixture = Fixture::new();
    fixture.add_pod_to_devmap();
    fixture.attach_reader_in_pod();
    fixture.programs.plan(ProbePlan {
        meta: -8,
        value: VALUE,
        ..redirect()
    });
    let generic = fixture.try_attach_xdp(XDP_FLAGS_SKB_MODE).unwrap();
    fixture.send(3);
    for record in fixture.programs.records(3) {
        assert_eq!(record.metadata, 0);
        assert_eq!(record.bytes[..64], frame(POD_MAC, 64));
    }
    // The program got no error.
    assert_eq!(
        (fixture.programs.seen().meta, fixture.programs.seen().metadata),
        (0, 8)
    );

    drop(generic);
    // A starting process holds a copy of the descriptor until it executes its program.
    let link = wait::until("the NIC is free", || {
        fixture.try_attach_xdp(XDP_FLAGS_DRV_MODE).ok()
    });
    fixture.links.push(link);
    fixture.send(1);
    assert_eq!(fixture.programs.record().metadata, 8);
}

#[test]
fn generic_mode_keeps_metadata_of_passed_packets() {
    let mut fixture = Fixture::new();
    fixture.attach_reader_on_nic();
    fixture.programs.plan(ProbePlan {
        meta: -8,
        value: VALUE,
        ..pass()
    });
    let _generic = fixture.try_attach_xdp(XDP_FLAGS_SKB_MODE).unwrap();
    fixture.send(1);
    let record = fixture.programs.record();
    assert_eq!((record.metadata, record.value), (8, VALUE));
}

#[test]
fn gro_merges_packets_with_equal_metadata() {
    let (skbs, segments) = merged(ProbePlan {
        meta: -8,
        value: VALUE,
        ..redirect_udp()
    });
    assert_eq!((skbs, segments), (1, COPIES));
}

#[test]
fn gro_merges_packets_without_metadata() {
    assert_eq!(merged(redirect_udp()), (1, COPIES));
}

#[test]
fn gro_does_not_merge_packets_with_different_metadata() {
    let (skbs, segments) = merged(ProbePlan {
        meta: -8,
        value: VALUE,
        numbered: 1,
        ..redirect_udp()
    });
    assert_eq!((skbs, segments), (COPIES, COPIES));
}

const COPIES: u32 = 16;

fn redirect_udp() -> ProbePlan {
    let mut header = wire::header(POD_MAC);
    header[12..].copy_from_slice(&[0x08, 0x00]);
    ProbePlan { header, ..redirect() }
}

/// Returns the number of skbs that reach the pod, and of packets in them, when the NIC receives a batch of
/// one flow. Uses live frames, because a veth processes its packets one by one.
fn merged(plan: ProbePlan) -> (u32, u32) {
    let mut fixture = Fixture::redirecting(plan);
    fixture.pod.command("ethtool -K p0 rx-udp-gro-forwarding on");
    let frame = wire::udp(NIC_MAC, 200);
    let program = fixture.programs.xdp();
    fixture
        .node
        .run(|| bpf::run_live(program, &frame, COPIES, 0))
        .unwrap();

    let mut records = Vec::new();
    wait::until("all packets arrived", || {
        records.extend(fixture.programs.records_so_far());
        (packets(&records) == COPIES).then_some(())
    });
    assert!(
        records
            .iter()
            .all(|record| record.metadata == plan.meta.unsigned_abs())
    );
    (records.len() as u32, packets(&records))
}

fn packets(records: &[crate::shared::SkbRecord]) -> u32 {
    records.iter().map(|record| record.segments.max(1)).sum()
}
