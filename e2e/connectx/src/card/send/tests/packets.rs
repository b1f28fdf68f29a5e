//! Work requests that send packets.

use super::*;

#[test]
fn a_frame_is_gathered_from_its_segments() {
    let mut port = Port::new();
    let frame = Content::default().frame();
    let parts = [port.fixture.store(&frame[..20]), port.fixture.store(&frame[20..])];
    let segments = [
        ethernet(0, 0, 0),
        data(20, KEY, parts[0]),
        data(frame.len() - 20, KEY, parts[1]),
    ]
    .concat();
    port.post(SEND, SIGNAL, &segments);
    let completions = port.run();
    assert_eq!(port.sent(), [frame]);
    assert_eq!((completions[0][63], word(&completions[0], 60)), (0, 0));
    assert_eq!(completions[0][56..60], (u32::from(SEND) << 24 | SQ).to_be_bytes());
    assert_ne!(completions[0][48..56], [0; 8]);
}

#[test]
fn only_signalled_requests_have_completions() {
    let mut port = Port::new();
    let frame = Content::default().frame();
    port.post_frame(&frame, 0);
    port.post(NOP, SIGNAL, &[]);
    port.post_frame(&frame, 0);
    port.post(NOP, false, &[]);
    let completions = port.run();
    assert_eq!(
        completions
            .iter()
            .map(|completion| word(completion, 60))
            .collect::<Vec<_>>(),
        [1]
    );
    assert_eq!(port.sent().len(), 2);
}

#[test]
fn work_requests_wrap_at_the_end_of_the_ring() {
    let mut port = Port::new();
    let frame = Content {
        payload: vec![3; 100],
        ..Content::default()
    }
    .frame();
    for _ in 0..20 {
        let inline = [&ethernet(0, 0, frame.len() as u16)[..14], &frame].concat();
        let mut segments = inline;
        segments.resize(segments.len().next_multiple_of(16), 0);
        port.post(SEND, SIGNAL, &segments);
        assert_eq!(port.run().len(), 1);
    }
    assert_eq!(port.sent(), vec![frame; 20]);
    assert!(port.posted > 32);
}

#[test]
fn checksums_are_filled_in_for_both_families() {
    for version in [4, 6] {
        for tcp in [true, false] {
            let mut port = Port::new();
            let expected = Content {
                version,
                tcp,
                ..Content::default()
            }
            .frame();
            let headers = parse(&expected);
            let at = headers.transport.unwrap().start + if tcp { 16 } else { 6 };
            let mut frame = expected.clone();
            frame[at..at + 2].copy_from_slice(&[0x12, 0x34]);
            port.post_frame(&frame, checksum::FILL_NETWORK | checksum::FILL_TRANSPORT);
            port.post_frame(&frame, 0);
            port.run();
            assert_eq!(port.sent(), [expected, frame]);
        }
    }
}

#[test]
fn an_inline_header_comes_before_the_data() {
    for length in [1, 2, 3, 14, 18, 19, 34, 60] {
        let mut port = Port::of(Profile::CONNECTX_6_DX);
        let frame = Content::default().frame();
        let mut segments = [&ethernet(0, 0, length as u16)[..14], &frame[..length]].concat();
        segments.resize(segments.len().next_multiple_of(16), 0);
        let address = port.fixture.store(&frame[length..]);
        segments.extend(data(frame.len() - length, KEY, address));
        port.post(SEND, false, &segments);
        port.run();
        assert_eq!(port.sent(), [frame], "{length}");
    }
}

#[test]
fn a_tag_is_inserted() {
    for (kind, ethertype) in [(1 << 15, 0x8100), (1 << 15 | 1, 0x88a8_u16)] {
        let mut port = Port::new();
        let frame = Content::default().frame();
        let address = port.fixture.store(&frame);
        let mut segment = ethernet(0, 0, kind);
        segment[14..].copy_from_slice(&0x2005_u16.to_be_bytes());
        port.post(SEND, false, &[segment, data(frame.len(), KEY, address)].concat());
        port.run();
        let tag = [ethertype.to_be_bytes(), [0x20, 0x05]].concat();
        assert_eq!(port.sent(), [[&frame[..12], &tag, &frame[12..]].concat()]);
    }
}

#[test]
fn a_large_frame_with_a_tag_is_segmented() {
    let mut port = Port::new();
    let content = Content {
        tcp: true,
        payload: vec![5; 4000],
        ..Content::default()
    };
    let frame = content.frame();
    let address = port.fixture.store(&frame);
    let mut segment = ethernet(checksum::FILL_NETWORK | checksum::FILL_TRANSPORT, 1400, 1 << 15);
    segment[14..].copy_from_slice(&9_u16.to_be_bytes());
    port.post(
        LARGE_SEND,
        SIGNAL,
        &[segment, data(frame.len(), KEY, address)].concat(),
    );
    assert_eq!(port.run().len(), 1);
    let sent = port.sent();
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [1458, 1458, 1258]);
    for frame in &sent {
        let headers = parse(frame);
        assert_eq!(headers.vlan, Some(9));
        let right = checksum::Verdict {
            network: Some(true),
            transport: Some(true),
        };
        assert_eq!(checksum::verify(frame, &headers), right);
    }
    assert_eq!(port.fixture.device.counters.segmented, 1);
}

#[test]
fn a_multi_packet_request_sends_each_segment() {
    let mut port = Port::new();
    let frames: Vec<_> = [10, 40, 200]
        .map(|length| {
            Content {
                payload: vec![length; length.into()],
                ..Content::default()
            }
            .frame()
        })
        .to_vec();
    let addresses = [port.fixture.store(&frames[0]), port.fixture.store(&frames[2])];
    let mut inline = (1 << 31 | frames[1].len() as u32).to_be_bytes().to_vec();
    inline.extend(&frames[1]);
    inline.resize(inline.len().next_multiple_of(16), 0xee);
    let segments = [
        ethernet(0, 0, 0).to_vec(),
        data(frames[0].len(), KEY, addresses[0]).to_vec(),
        inline,
        data(frames[2].len(), KEY, addresses[1]).to_vec(),
    ];
    port.post(MULTI_PACKET, SIGNAL, &segments.concat());
    assert_eq!(port.run().len(), 1);
    let mut expected = frames;
    expected[0].resize(60, 0);
    assert_eq!(port.sent(), expected);
}

#[test]
fn frames_are_counted_by_their_destination() {
    let mut port = Port::new();
    let unicast = Content::default().frame();
    let (mut multicast, mut broadcast) = (unicast.clone(), unicast.clone());
    multicast[0] = 0x01;
    broadcast[..6].fill(0xff);
    for frame in [&unicast, &multicast, &broadcast] {
        port.post_frame(frame, 0);
    }
    port.run();
    port.fixture.device.admin_up = false;
    port.post_frame(&unicast, 0);
    port.run();
    let counters = &port.fixture.device.counters;
    assert_eq!(
        (counters.sent, counters.sent_multicast, counters.sent_broadcast),
        (3, 1, 1)
    );
    assert_eq!(
        (counters.sent_bytes, counters.sent_link_down),
        (3 * unicast.len() as u64, 1)
    );
}
