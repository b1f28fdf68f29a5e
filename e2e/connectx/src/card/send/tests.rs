use super::*;
use crate::card::{
    completion::LENGTH,
    findings::Finding,
    fixture::{Content, Fixture, KEY, Work, context, data, key},
    mkey::MemoryKey,
    parse::word,
    profile::Profile,
};

const CQ: u32 = 0x401;
const SQ: u32 = 0x1003;
const SIGNAL: bool = true;

const NOP: u8 = 0x00;
const SEND: u8 = 0x0a;
const LARGE_SEND: u8 = 0x0e;
const UMR: u8 = 0x25;
const MULTI_PACKET: u8 = 0x29;

/// A card with one send queue of 16 blocks.
struct Port {
    fixture: Fixture,
    ring: u64,
    doorbell: u64,
    posted: u16,
}

/// An Ethernet segment.
fn ethernet(checksums: u8, size: u16, inline: u16) -> [u8; 16] {
    let mut segment = [0; 16];
    segment[4] = checksums;
    segment[6..8].copy_from_slice(&size.to_be_bytes());
    segment[12..14].copy_from_slice(&inline.to_be_bytes());
    segment
}

impl Port {
    fn new() -> Self {
        Self::of(Profile::CONNECTX_6_DX)
    }

    fn of(profile: Profile) -> Self {
        let mut fixture = Fixture::of(profile);
        fixture.completion_queue(CQ, 4);
        let (ring, doorbell) = (fixture.allocate(1024), fixture.allocate(8));
        let work = Work {
            kind: 1,
            log_size: 4,
            log_stride: 6,
            strides: (9, 6),
            ring,
            doorbell,
        };
        let fields = [(sqc::CQN, u64::from(CQ)), (sqc::STATE, READY), (sqc::REG_UMR, 1)];
        let queue = SendQueue::parse(&context(sqc::WQ, work, &fields)).unwrap();
        fixture.device.sqs.insert(SQ, queue);
        Self {
            fixture,
            ring,
            doorbell,
            posted: 0,
        }
    }

    /// Posts a work request with these segments behind the control segment.
    fn post(&mut self, opcode: u8, signalled: bool, segments: &[u8]) {
        let length = (16 + segments.len()) as u32 / 16;
        let mut control = (u32::from(self.posted) << 8 | u32::from(opcode))
            .to_be_bytes()
            .to_vec();
        control.extend((SQ << 8 | length).to_be_bytes());
        control.extend([0, 0, 0, if signalled { 8 } else { 0 }, 0, 0, 0, 0]);
        self.post_raw(&[&control, segments].concat());
    }

    fn post_raw(&mut self, bytes: &[u8]) {
        for block in bytes.chunks(64) {
            let address = self.ring + u64::from(self.posted % 16) * 64;
            self.fixture.write(address, block);
            self.posted = self.posted.wrapping_add(1);
        }
    }

    /// Rings the doorbell. Returns the completions.
    fn run(&mut self) -> Vec<[u8; LENGTH]> {
        let record = u32::from(self.posted).to_be_bytes();
        self.fixture.write(self.doorbell + 4, &record);
        self.fixture.device.run_send_queue(SQ);
        self.fixture.completions(CQ)
    }

    fn sent(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.fixture.device.sent)
    }

    /// Posts a frame in memory.
    fn post_frame(&mut self, frame: &[u8], checksums: u8) {
        let address = self.fixture.store(frame);
        let segments = [ethernet(checksums, 0, 0), data(frame.len(), KEY, address)].concat();
        self.post(SEND, false, &segments);
    }

    /// Runs a work request that is not right. Returns the error's syndrome and the finding.
    fn fail(&mut self, opcode: u8, segments: &[u8]) -> (u8, &'static str) {
        self.post(opcode, false, segments);
        self.failure()
    }

    fn failure(&mut self) -> (u8, &'static str) {
        let completions = self.run();
        assert_eq!(completions.len(), 1);
        assert_eq!(completions[0][63] >> 4, 13);
        assert_eq!(self.fixture.device.sqs[&SQ].state, ERROR);
        assert_eq!(self.sent(), [[0_u8; 0]; 0]);
        match self.fixture.device.findings()[0] {
            Finding::Queue { number: SQ, what } => (completions[0][55], what),
            ref other => panic!("{other:?}"),
        }
    }
}

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
fn a_card_that_needs_inline_headers_refuses_requests_without() {
    let mut port = Port::of(Profile::CONNECTX_4_LX);
    let frame = Content::default().frame();
    let address = port.fixture.store(&frame);
    let segments = [ethernet(0, 0, 0), data(frame.len(), KEY, address)].concat();
    let expected = (2, "a work request without the inline header that the card needs");
    assert_eq!(port.fail(SEND, &segments), expected);
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
fn a_card_without_multi_packet_requests_refuses_them() {
    let mut port = Port::of(Profile::CONNECTX_4_LX);
    let expected = (2, "a multi-packet work request, which the card does not have");
    assert_eq!(port.fail(MULTI_PACKET, &ethernet(0, 0, 0)), expected);
}

fn umr(index: u32, offset: u16, translations: &[u64]) -> Vec<u8> {
    let mut segments = vec![0; 112];
    segments[0] = 1 << 7 | 1 << 4;
    segments[4..6].copy_from_slice(&(translations.len() as u16 / 2).to_be_bytes());
    segments[6..8].copy_from_slice(&offset.to_be_bytes());
    segments.extend(translations.iter().flat_map(|entry| entry.to_be_bytes()));
    let _ = index;
    segments
}

impl Port {
    fn post_umr(&mut self, key: u32, segments: &[u8]) {
        let first = self.ring + u64::from(self.posted % 16) * 64;
        self.post(UMR, SIGNAL, segments);
        self.fixture.write(first + 12, &key.to_be_bytes());
    }
}

#[test]
fn a_umr_writes_translations_from_its_offset_on() {
    let mut port = Port::new();
    let pages: Vec<_> = (0..4).map(|_| port.fixture.allocate(4096)).collect();
    let memory_key = MemoryKey::parse(&key(1, 4 * 4096, 12, &[0; 32]));
    port.fixture.device.mkeys.insert(0x30, memory_key);
    port.post_umr(0x30 << 8 | 7, &umr(0x30, 1, &[pages[3] | 3, pages[2] | 3]));
    assert_eq!(port.run().len(), 1);
    assert_eq!(port.fixture.problems(), [""; 0]);
    let mut dma = Dma {
        memory: &mut port.fixture.device.memory,
        keys: &port.fixture.device.mkeys,
    };
    dma.write(0x30 << 8 | 7, 2 * 4096, b"third").unwrap();
    assert!(dma.write(0x30 << 8 | 7, 0, b"first").is_err());
    assert_eq!(port.fixture.read(pages[3], 5), b"third");
    assert_eq!(port.fixture.device.counters.umr, 1);
}

#[test]
fn a_umr_that_does_not_fit_its_key_is_an_error() {
    let mut port = Port::new();
    port.fixture
        .device
        .mkeys
        .insert(0x30, MemoryKey::parse(&key(1, 8192, 12, &[0; 16])));
    port.post_umr(0x30 << 8 | 7, &umr(0x30, 1, &[0, 0]));
    assert_eq!(port.failure(), (4, "a UMR behind the translations of the key"));
}

#[test]
fn a_umr_for_an_unknown_key_is_an_error() {
    let mut port = Port::new();
    port.post_umr(0x99 << 8, &umr(0x99, 0, &[0, 0]));
    assert_eq!(port.failure(), (4, "a UMR for an unknown memory key"));
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
