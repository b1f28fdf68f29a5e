//! Failed redirects: where each failure is visible, and where it is not.
//!
//! Stage one is `xdp_do_redirect`, in the driver's receive loop: the driver gets the error. Stage two is the
//! flush of the bulk queue, after the driver has counted the packet as redirected.

use crate::{
    fixture::{Fixture, NIC_MAC, SLOT, redirect},
    programs::Tracer,
    shared::TraceEvent,
    wait,
    wire::frame,
};

/// Returns the counters of the NIC's driver: packets redirected, packets lost.
fn driver(fixture: &Fixture) -> (u64, u64) {
    let counter = |name: &str| fixture.node.driver_counter("n0", &format!("rx_queue_0_{name}"));
    (counter("xdp_redirect"), counter("drops"))
}

#[test]
fn a_delivered_packet_shows_as_sent() {
    let mut tracer = Tracer::start();
    let mut fixture = Fixture::redirecting(redirect());
    fixture.send(1);
    fixture.programs.record();
    assert_eq!(tracer.events_after(fixture.nic, 1), [flushed(&fixture, 1, 0, 0)]);
    wait::until_eq((1, 0), || driver(&fixture));
    assert_eq!(fixture.node.tx_dropped("h0"), 0);
}

#[test]
fn without_gro_in_the_pod_a_redirect_fails_with_eopnotsupp_visible_to_the_driver() {
    let mut fixture = Fixture::redirecting(redirect());
    fixture.pod.command("ethtool -K p0 gro off");
    fails_at_once(&mut fixture, 64, libc::EOPNOTSUPP);
}

#[test]
fn with_the_host_veth_down_a_redirect_fails_with_enetdown_visible_to_the_driver() {
    let mut fixture = Fixture::redirecting(redirect());
    fixture.node.command("ip link set h0 down");
    fails_at_once(&mut fixture, 64, libc::ENETDOWN);
}

#[test]
fn a_frame_over_the_host_veths_mtu_fails_with_emsgsize_visible_to_the_driver() {
    let mut fixture = Fixture::redirecting(redirect());
    fixture.node.command("ip link set h0 mtu 576");
    fails_at_once(&mut fixture, 1000, libc::EMSGSIZE);
}

#[test]
fn the_host_veths_mtu_allows_for_the_header_and_one_vlan_tag() {
    let mut fixture = Fixture::redirecting(redirect());
    fixture.node.command("ip link set h0 mtu 576");
    fixture.wire.send(&frame(NIC_MAC, 576 + 14 + 4));
    assert_eq!(fixture.programs.record().length, 576 + 14 + 4);
    fails_at_once(&mut fixture, 576 + 14 + 4 + 1, libc::EMSGSIZE);
}

#[test]
fn with_the_pods_eth0_down_packets_are_lost_at_the_flush_and_the_driver_counts_success() {
    let mut fixture = Fixture::redirecting(redirect());
    fixture.pod.command("ip link set p0 down");
    fails_at_the_flush(&mut fixture, 64, -libc::ENXIO);
    // Refused before veth counts per queue.
    assert_eq!(xmit_errors(&fixture), 0);
}

#[test]
fn a_frame_over_the_pods_mtu_is_lost_at_the_flush_without_an_errno() {
    let mut fixture = Fixture::redirecting(redirect());
    fixture.pod.command("ip link set p0 mtu 576");
    fails_at_the_flush(&mut fixture, 1000, 0);
    assert_eq!(xmit_errors(&fixture), 1);
}

#[test]
fn a_bulk_of_frames_over_the_pods_mtu_is_lost_whole() {
    let mut tracer = Tracer::start();
    let fixture = Fixture::redirecting(redirect());
    fixture.pod.command("ip link set p0 mtu 576");
    let program = fixture.programs.xdp();
    let long = frame(NIC_MAC, 1000);
    fixture
        .node
        .run(|| xdp_lab::bpf::run_live(program, &long, 16, 0))
        .unwrap();
    let events = wait::until("the flush was reported", || {
        let events = tracer.events_to(fixture.host);
        (!events.is_empty()).then_some(events)
    });
    let sums = (
        events.iter().map(|event| event.sent).sum(),
        events.iter().map(|event| event.drops).sum(),
    );
    assert_eq!(sums, (0, 16));
}

#[test]
fn a_full_ring_loses_packets_at_the_flush_without_an_errno() {
    const RING: usize = 256;
    const TOO_MANY: usize = 44;
    const BURST: usize = 50;
    let mut tracer = Tracer::start();
    let mut fixture = Fixture::redirecting(redirect());
    fixture.stop_polling_in_pod();
    // The poll for this packet is the last one for a minute.
    fixture.send(1);
    fixture.programs.record();

    for sent in (BURST..=RING + TOO_MANY).step_by(BURST) {
        fixture.send(BURST);
        // The NIC's own ring must not overflow.
        fixture.programs.seen_after(1 + sent as u64);
    }
    let all = (1 + RING + TOO_MANY) as u64;
    wait::until_eq((all, 0), || driver(&fixture));
    let drops = wait::until("all flushes were reported", || {
        let events = tracer.events(fixture.nic);
        let sum = |count: fn(&TraceEvent) -> i32| events.iter().map(count).sum::<i32>() as u64;
        assert_eq!(sum(|event| event.err), 0);
        (sum(|event| event.sent + event.drops) == all).then_some(sum(|event| event.drops))
    });
    // The ring frees slots in batches, so a few less than its size may be available.
    assert!(
        (TOO_MANY as u64..TOO_MANY as u64 + 32).contains(&drops),
        "{drops}"
    );
    assert_eq!(fixture.node.tx_dropped("h0"), drops);
    assert_eq!(xmit_errors(&fixture), drops);
}

/// Returns the counter of the target's driver.
fn xmit_errors(fixture: &Fixture) -> u64 {
    fixture.node.driver_counter("h0", "tx_queue_0_xdp_xmit_errors")
}

/// Stage one: the errno is in `xdp_redirect_err`, the driver counts a drop, the target counts nothing.
fn fails_at_once(fixture: &mut Fixture, length: usize, errno: i32) {
    let (redirected, lost) = driver(fixture);
    let mut tracer = Tracer::start();
    fixture.wire.send(&frame(NIC_MAC, length));
    let failed = tracer.events_after(fixture.nic, 1);
    let map = failed[0].map;
    let expected = TraceEvent {
        kind: TraceEvent::REDIRECT_ERR,
        from: fixture.nic,
        err: -errno,
        map,
        slot: SLOT,
        ..TraceEvent::default()
    };
    // veth reports no exception for a failed redirect; mlx5 does.
    assert_eq!(failed, [expected]);
    assert_ne!(map, 0);
    wait::until_eq((redirected, lost + 1), || driver(fixture));
    assert_eq!(fixture.node.tx_dropped("h0"), 0);
    assert_eq!(fixture.programs.records_so_far().len(), 0);
}

/// Stage two: only `xdp_devmap_xmit` and the target's counters show it; the driver counts a successful
/// redirect.
fn fails_at_the_flush(fixture: &mut Fixture, length: usize, err: i32) {
    let (redirected, lost) = driver(fixture);
    let mut tracer = Tracer::start();
    fixture.wire.send(&frame(NIC_MAC, length));
    assert_eq!(tracer.events_after(fixture.nic, 1), [flushed(fixture, 0, 1, err)]);
    wait::until_eq((redirected + 1, lost), || driver(fixture));
    assert_eq!(fixture.node.tx_dropped("h0"), 1);
    assert_eq!(fixture.programs.records_so_far().len(), 0);
}

fn flushed(fixture: &Fixture, sent: i32, drops: i32, err: i32) -> TraceEvent {
    TraceEvent {
        kind: TraceEvent::DEVMAP_XMIT,
        from: fixture.nic,
        to: fixture.host,
        sent,
        drops,
        err,
        ..TraceEvent::default()
    }
}
