//! Work requests that the card refuses.

use super::*;

#[test]
fn a_card_that_needs_inline_headers_refuses_requests_without() {
    let mut port = Port::of(Profile::CONNECTX_4_LX);
    let frame = Content::default().frame();
    let address = port.fixture.store(&frame);
    let segments = [ethernet(0, 0, 0), data(frame.len(), KEY, address)].concat();
    let expected = (2, "a work request without the inline header that the card needs");
    assert_eq!(port.fail(SEND, &segments), expected);
}

#[test]
fn a_card_without_multi_packet_requests_refuses_them() {
    let mut port = Port::of(Profile::CONNECTX_4_LX);
    let expected = (2, "a multi-packet work request, which the card does not have");
    assert_eq!(port.fail(MULTI_PACKET, &ethernet(0, 0, 0)), expected);
}

#[test]
fn an_unknown_opcode_is_an_error() {
    assert_eq!(
        Port::new().fail(0x77, &[]),
        (2, "a work request with an unknown opcode")
    );
}

#[test]
fn an_unknown_memory_key_is_an_error() {
    let segments = [ethernet(0, 0, 0), data(100, KEY ^ 0x100, 0)].concat();
    assert_eq!(Port::new().fail(SEND, &segments), (4, "an unknown memory key"));
}

#[test]
fn an_address_outside_the_memory_key_is_an_error() {
    let mut port = Port::new();
    port.fixture
        .device
        .mkeys
        .insert(0x30, MemoryKey::parse(&key(0, 4096, 0, &[])));
    let segments = [ethernet(0, 0, 0), data(100, 0x30 << 8 | 7, 4000)].concat();
    assert_eq!(
        port.fail(SEND, &segments),
        (4, "an address behind the memory key")
    );
}

#[test]
fn data_outside_guest_memory_is_an_error() {
    let segments = [ethernet(0, 0, 0), data(100, KEY, 0x1000)].concat();
    let mut port = Port::new();
    port.post(SEND, false, &segments);
    assert_eq!(port.run()[0][55], 4);
    assert!(port.fixture.device.findings().contains(&Finding::DmaFault {
        address: 0x1000,
        write: false
    }));
}

#[test]
fn truncated_requests_are_errors() {
    assert_eq!(
        Port::new().fail(SEND, &[]),
        (2, "a work request without an Ethernet segment")
    );
    let inline = ethernet(0, 0, 100);
    assert_eq!(
        Port::new().fail(SEND, &inline),
        (2, "an inline header behind the work request")
    );
    let mut packet = [0; 16];
    packet[..4].copy_from_slice(&((1_u32 << 31) + 60).to_be_bytes());
    let segments = [ethernet(0, 0, 0), packet].concat();
    assert_eq!(
        Port::new().fail(MULTI_PACKET, &segments),
        (2, "inline data behind the work request")
    );
    let segments = [ethernet(0, 0, 0), data(0, KEY, 0)].concat();
    assert_eq!(
        Port::new().fail(SEND, &segments),
        (2, "a data segment without data")
    );
}

#[test]
fn a_request_longer_than_what_is_posted_is_an_error() {
    let mut port = Port::new();
    port.post(SEND, false, &[0; 112]);
    port.posted -= 1;
    assert_eq!(
        port.failure(),
        (2, "a work request longer than what is posted, or empty")
    );
}

#[test]
fn a_request_of_another_queue_or_index_is_an_error() {
    let mut port = Port::new();
    port.post_raw(&[0, 0, 1, 0, 0, 0x10, 3, 1]);
    assert_eq!(port.failure(), (2, "a work request with the index of another"));
    let mut port = Port::new();
    port.post_raw(&[0, 0, 0, 0, 0, 0x10, 4, 1]);
    assert_eq!(
        port.failure(),
        (2, "a work request with the number of another queue")
    );
}

#[test]
fn a_doorbell_beyond_the_queue_is_an_error() {
    let mut port = Port::new();
    port.posted = 17;
    assert_eq!(
        port.failure(),
        (2, "a send doorbell beyond the size of the queue")
    );
}

#[test]
fn only_tcp_and_udp_are_segmented() {
    let mut port = Port::new();
    let address = port.fixture.store(&[0xff; 200]);
    let segments = [ethernet(0, 100, 0), data(200, KEY, address)].concat();
    let what = "segmentation of what is neither TCP nor UDP, or without a size";
    assert_eq!(port.fail(LARGE_SEND, &segments), (2, what));
}

#[test]
fn a_queue_in_error_flushes_until_the_reset() {
    let mut port = Port::new();
    port.fail(0x77, &[]);
    let frame = Content::default().frame();
    port.post_frame(&frame, 0);
    let completions = port.run();
    assert_eq!(
        (
            completions[0][63] >> 4,
            completions[0][55],
            word(&completions[0], 60)
        ),
        (13, 5, 1)
    );
    assert_eq!(port.sent(), [[0_u8; 0]; 0]);
    let queue = port.fixture.device.sqs.get_mut(&SQ).unwrap();
    queue.set_state(RESET);
    queue.set_state(READY);
    port.posted = 0;
    port.post_frame(&frame, 0);
    port.run();
    assert_eq!(port.sent(), [frame]);
}
