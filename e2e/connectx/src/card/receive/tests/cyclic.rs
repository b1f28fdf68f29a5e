//! Cyclic queues.

use super::*;

#[test]
fn a_frame_fills_the_buffers_of_a_descriptor_in_order() {
    let mut port = Port::cyclic();
    let buffers = port.post(&[64, 2048]);
    let frame = frame(300);
    let completion = port.receive_one(&frame);
    let written = [
        port.fixture.read(buffers[0], 64),
        port.fixture.read(buffers[1], frame.len() - 64),
    ]
    .concat();
    assert_eq!(written, frame);
    assert_eq!(number(&completion, 44), frame.len() as u32);
    assert_eq!((word(&completion, 60), completion[63] >> 4), (0, 2));
    assert_eq!(port.fixture.problems(), [""; 0]);
}

#[test]
fn owner_bits_change_each_time_through_the_ring() {
    let mut port = Port::cyclic();
    let counters: Vec<_> = (0..20)
        .map(|_| {
            port.post(&[2048]);
            let completion = port.receive_one(&frame(50));
            (word(&completion, 60), completion[63] & 1)
        })
        .collect();
    let expected: Vec<_> = (0..20).map(|index| (index, (index / 8 % 2) as u8)).collect();
    assert_eq!(counters, expected);
}

#[test]
fn without_a_buffer_the_frame_is_counted_and_lost() {
    let mut port = Port::cyclic();
    port.post(&[2048]);
    assert_eq!(
        (0..3).map(|_| port.receive(&frame(50)).len()).collect::<Vec<_>>(),
        [1, 0, 0]
    );
    let counters = port.fixture.device.counters();
    assert_eq!((counters.received, counters.out_of_buffer), (3, 2));
    assert_eq!(
        (counters.queues[0].frames, counters.queues[0].out_of_buffer),
        (1, 2)
    );
    assert_eq!(port.fixture.device.queue_counters[&COUNTER], 2);
    port.post(&[2048]);
    assert_eq!(word(&port.receive_one(&frame(50)), 60), 1);
    assert_eq!(port.fixture.problems(), [""; 0]);
}

#[test]
fn a_reset_begins_at_the_first_descriptor() {
    let mut port = Port::cyclic();
    port.post(&[2048]);
    port.receive_one(&frame(50));
    let mut reset = vec![0; 256];
    port.queue().modify(&reset, 0);
    rqc::STATE.set(&mut reset, READY);
    port.queue().modify(&reset, 0);
    port.posted = 0;
    port.post(&[2048]);
    assert_eq!(word(&port.receive_one(&frame(50)), 60), 0);
}

#[test]
fn a_descriptor_that_is_too_small_is_an_error() {
    let mut port = Port::cyclic();
    port.post(&[30, 30]);
    assert_eq!(
        error(&mut port),
        (14, 1, vec!["a receive descriptor with less room than the frame"])
    );
}

#[test]
fn an_unknown_memory_key_is_an_error() {
    let mut port = Port::cyclic();
    let address = port.fixture.allocate(2048);
    let descriptor = [data(2048, KEY ^ 1, address), data(0, TERMINATE, 0)].concat();
    port.post_descriptor(0, &descriptor);
    assert_eq!(error(&mut port), (14, 4, vec!["an unknown memory key"]));
}

#[test]
fn a_buffer_outside_guest_memory_is_an_error() {
    let mut port = Port::cyclic();
    port.post_descriptor(0, &[data(2048, KEY, 0x1000), data(0, TERMINATE, 0)].concat());
    assert_eq!(
        error(&mut port),
        (14, 4, vec!["a descriptor whose buffer is not in guest memory"])
    );
    assert!(port.fixture.device.findings().contains(&Finding::DmaFault {
        address: 0x1000,
        write: true
    }));
}

#[test]
fn a_doorbell_beyond_the_queue_is_an_error() {
    let mut port = Port::cyclic();
    port.doorbell(5);
    assert_eq!(
        error(&mut port),
        (14, 2, vec!["a receive doorbell beyond the size of the queue"])
    );
}
