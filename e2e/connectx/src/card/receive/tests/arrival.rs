//! What the port counts.

use super::*;

#[test]
fn a_queue_that_is_not_ready_receives_nothing() {
    let mut port = Port::cyclic();
    port.post(&[2048]);
    port.queue().state = RESET;
    assert!(port.receive(&frame(50)).is_empty());
    assert_eq!(port.fixture.device.counters.queue_not_ready, 1);
}

#[test]
fn the_port_counts_what_it_does_not_receive() {
    let mut port = Port::cyclic();
    port.fixture.device.mtu = 1522;
    let (longest, longer) = (frame(1518 - 42), frame(1519 - 42));
    port.post(&[2048]);
    port.receive_one(&longest);
    assert!(port.receive(&longer).is_empty());
    assert!(port.receive(&MAC).is_empty());
    port.fixture.device.admin_up = false;
    assert!(port.receive(&longest).is_empty());
    port.fixture.device.admin_up = true;
    port.fixture
        .device
        .flow_tables
        .get_mut(&1)
        .unwrap()
        .entries
        .clear();
    assert!(port.receive(&[0xff; 60]).is_empty());
    let counters = &port.fixture.device.counters;
    assert_eq!(
        (
            counters.received,
            counters.too_long,
            counters.too_short,
            counters.link_down
        ),
        (2, 1, 1, 1)
    );
    assert_eq!(
        (counters.unmatched, counters.broadcast, counters.multicast),
        (1, 1, 0)
    );
}

#[test]
fn short_frames_are_padded() {
    let mut port = Port::cyclic();
    port.post(&[2048]);
    assert_eq!(number(&port.receive_one(&frame(1)), 44), 60);
}
