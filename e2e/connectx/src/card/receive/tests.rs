use std::collections::BTreeMap;

use super::*;
use crate::card::{
    completion::LENGTH,
    findings::Finding,
    fixture::{Content, Fixture, KEY, MAC, Work, context, data, key},
    layout::tirc,
    mkey::{MemoryKey, TERMINATE},
    parse::word,
    rss::Tir,
    steering::FlowTable,
};

const CQ: u32 = 0x400;
const RQ: u32 = 0x2000;
const TIR: u32 = 0x10;
const COUNTER: u32 = 3;

/// A card with one receive queue, to which all frames go.
struct Port {
    fixture: Fixture,
    ring: u64,
    doorbell: u64,
    posted: u16,
}

impl Port {
    fn new(work: impl FnOnce(u64, u64) -> Work, log_completions: u32) -> Self {
        let mut fixture = Fixture::new();
        fixture.completion_queue(CQ, log_completions);
        let (ring, doorbell) = (fixture.allocate(4096), fixture.allocate(8));
        let fields = [
            (rqc::CQN, u64::from(CQ)),
            (rqc::COUNTER_SET_ID, u64::from(COUNTER)),
            (rqc::VSD, 1),
        ];
        fixture.receive_queue(RQ, &context(rqc::WQ, work(ring, doorbell), &fields));
        fixture.device.queue_counters.insert(COUNTER, 0);
        let mut tir = vec![0; 256];
        tirc::INLINE_RQN.set(&mut tir, RQ.into());
        fixture.device.tirs.insert(TIR, Tir::parse(&tir));
        fixture.device.flow_tables.insert(1, FlowTable::to_tir(TIR));
        fixture.device.root_tables = BTreeMap::from([(steering::RECEIVE, 1)]);
        Self {
            fixture,
            ring,
            doorbell,
            posted: 0,
        }
    }

    /// A cyclic queue of 4 descriptors with 2 data segments each.
    fn cyclic() -> Self {
        let work = |ring, doorbell| Work {
            kind: 1,
            log_size: 2,
            log_stride: 5,
            strides: (9, 6),
            ring,
            doorbell,
        };
        Self::new(work, 3)
    }

    /// A striding queue of 4 descriptors with 8 strides of 256 bytes each.
    fn striding() -> Self {
        let work = |ring, doorbell| Work {
            kind: 2,
            log_size: 2,
            log_stride: 5,
            strides: (3, 8),
            ring,
            doorbell,
        };
        Self::new(work, 5)
    }

    fn queue(&mut self) -> &mut ReceiveQueue {
        self.fixture.device.rqs.get_mut(&RQ).unwrap()
    }

    fn doorbell(&mut self, count: u16) {
        self.posted = self.posted.wrapping_add(count);
        let record = u32::from(self.posted).to_be_bytes();
        self.fixture.write(self.doorbell, &record);
    }

    /// Posts a descriptor of a cyclic queue with buffers of these sizes. Returns their addresses.
    fn post(&mut self, sizes: &[usize]) -> Vec<u64> {
        let buffers: Vec<_> = sizes.iter().map(|size| self.fixture.allocate(*size)).collect();
        let segments = sizes
            .iter()
            .zip(&buffers)
            .map(|(size, address)| data(*size, KEY, *address));
        let ends = std::iter::repeat(data(0, TERMINATE, 0));
        let descriptor: Vec<u8> = segments.chain(ends).take(2).flatten().collect();
        self.post_descriptor(self.posted % 4, &descriptor);
        buffers
    }

    fn post_descriptor(&mut self, index: u16, descriptor: &[u8]) {
        self.fixture.write(self.ring + u64::from(index) * 32, descriptor);
        self.doorbell(1);
    }

    /// Posts a descriptor of a striding queue.
    fn post_strides(&mut self, index: u16, next: u16, key: u32, address: u64) {
        let mut descriptor = vec![0; 16];
        descriptor[2..4].copy_from_slice(&next.to_be_bytes());
        descriptor.extend(data(2048, key, address));
        self.post_descriptor(index, &descriptor);
    }

    fn receive(&mut self, frame: &[u8]) -> Vec<[u8; LENGTH]> {
        self.fixture.device.receive(frame);
        self.fixture.completions(CQ)
    }

    /// Receives a frame, which must have one completion.
    fn receive_one(&mut self, frame: &[u8]) -> [u8; LENGTH] {
        let completions = self.receive(frame);
        assert_eq!(completions.len(), 1, "{:?}", self.fixture.device.findings());
        completions[0]
    }
}

impl FlowTable {
    /// A table that sends all frames to a TIR.
    fn to_tir(tir: u32) -> Self {
        use crate::card::{
            layout::flow_context,
            steering::{FlowEntry, FlowGroup},
        };
        let mut context = vec![0; flow_context::DESTINATION.byte()];
        flow_context::ACTION.set(&mut context, 1 << 2);
        flow_context::DESTINATION_LIST_SIZE.set(&mut context, 1);
        context.extend_from_slice(&(2 << 24 | tir).to_be_bytes());
        let mut table = FlowTable::parse(&[0; 64]);
        table.groups.insert(0, FlowGroup::parse(&[0; 1024]).unwrap());
        table.entries.insert(0, FlowEntry::parse(&context).unwrap());
        table
    }
}

fn number(completion: &[u8; LENGTH], at: usize) -> u32 {
    u32::from(word(completion, at)) << 16 | u32::from(word(completion, at + 2))
}

fn frame(payload: usize) -> Vec<u8> {
    Content {
        payload: (0..payload).map(|byte| byte as u8).collect(),
        ..Content::default()
    }
    .frame()
}

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
fn a_queue_that_is_not_ready_receives_nothing() {
    let mut port = Port::cyclic();
    port.post(&[2048]);
    port.queue().state = RESET;
    assert!(port.receive(&frame(50)).is_empty());
    assert_eq!(port.fixture.device.counters.queue_not_ready, 1);
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

/// Receives a frame into a descriptor that is not right.
fn error(port: &mut Port) -> (u8, u8, Vec<&'static str>) {
    let completion = port.receive_one(&frame(50));
    assert_eq!(port.queue().state, ERROR);
    assert!(port.receive(&frame(50)).is_empty());
    let findings = port.fixture.device.findings();
    let queue = |finding: Finding| match finding {
        Finding::Queue { number: RQ, what } => Some(what),
        _ => None,
    };
    (
        completion[63] >> 4,
        completion[55],
        findings.into_iter().filter_map(queue).collect(),
    )
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

#[test]
fn frames_use_the_strides_of_a_buffer_in_order() {
    let mut port = Port::striding();
    let address = port.fixture.allocate(2048);
    port.post_strides(0, 1, KEY, address);
    let (short, long) = (frame(50), frame(500));
    let places: Vec<_> = [&short, &long, &short]
        .map(|frame| {
            let completion = port.receive_one(frame);
            let at = u64::from(word(&completion, 60));
            assert_eq!(&port.fixture.read(address + at * 256, frame.len()), frame);
            (word(&completion, 2), at, number(&completion, 44))
        })
        .to_vec();
    let (short, long) = (1 << 16 | short.len() as u32, 3 << 16 | long.len() as u32);
    assert_eq!(places, [(0, 0, short), (0, 1, long), (0, 4, short)]);
}

#[test]
fn a_full_buffer_leads_to_the_next_by_its_link() {
    let mut port = Port::striding();
    let addresses = [port.fixture.allocate(2048), port.fixture.allocate(2048)];
    port.post_strides(0, 3, KEY, addresses[0]);
    port.post_strides(3, 1, KEY, addresses[1]);
    let places: Vec<_> = (0..10)
        .map(|_| {
            let completion = port.receive_one(&frame(50));
            (word(&completion, 2), word(&completion, 60))
        })
        .collect();
    let expected: Vec<_> = (0..8).map(|stride| (0, stride)).chain([(3, 0), (3, 1)]).collect();
    assert_eq!(places, expected);
    assert_eq!(port.fixture.device.counters.fillers, 0);
}

#[test]
fn a_filler_skips_the_strides_that_are_too_few() {
    let mut port = Port::striding();
    let addresses = [port.fixture.allocate(2048), port.fixture.allocate(2048)];
    port.post_strides(0, 2, KEY, addresses[0]);
    port.post_strides(2, 1, KEY, addresses[1]);
    port.receive_one(&frame(1400));
    let completions = port.receive(&frame(1400));
    let seen: Vec<_> = completions
        .iter()
        .map(|completion| (word(completion, 2), word(completion, 60), number(completion, 44)))
        .collect();
    assert_eq!(seen, [(0, 6, 1 << 31 | 2 << 16), (2, 0, (6 << 16) + 1442)]);
    assert_eq!(port.fixture.read(addresses[1], 1442), frame(1400));
    assert_eq!(port.fixture.device.counters.fillers, 1);
}

#[test]
fn a_filler_without_another_buffer_still_completes_the_first() {
    let mut port = Port::striding();
    let address = port.fixture.allocate(2048);
    port.post_strides(0, 2, KEY, address);
    port.receive_one(&frame(1400));
    let filler = port.receive_one(&frame(1400));
    assert_eq!(number(&filler, 44), 1 << 31 | 2 << 16);
    let counters = port.fixture.device.counters();
    assert_eq!((counters.out_of_buffer, counters.fillers), (1, 1));
}

#[test]
fn strides_are_translated_page_by_page() {
    let mut port = Port::striding();
    let pages = [port.fixture.allocate(4096), port.fixture.allocate(4096)];
    // The second page first; both writable.
    let entries = [pages[1] | 3, pages[0] | 3].map(u64::to_be_bytes).concat();
    let memory_key = MemoryKey::parse(&key(1, 8192, 12, &entries));
    port.fixture.device.mkeys.insert(0x30, memory_key);
    port.post_strides(0, 1, 0x30 << 8 | 7, 4096 - 256);
    let frame = frame(400);
    port.receive_one(&frame);
    let written = [
        port.fixture.read(pages[1] + 4096 - 256, 256),
        port.fixture.read(pages[0], frame.len() - 256),
    ];
    assert_eq!(written.concat(), frame);
}

#[test]
fn a_translation_without_write_permission_is_an_error() {
    let mut port = Port::striding();
    let page = port.fixture.allocate(4096);
    let entries = [page | 1, 0].map(u64::to_be_bytes).concat();
    port.fixture
        .device
        .mkeys
        .insert(0x30, MemoryKey::parse(&key(1, 8192, 12, &entries)));
    port.post_strides(0, 1, 0x30 << 8 | 7, 0);
    assert_eq!(
        error(&mut port),
        (14, 4, vec!["a translation that does not permit the access"])
    );
}

#[test]
fn strides_behind_the_memory_key_are_an_error() {
    let mut port = Port::striding();
    let page = port.fixture.allocate(4096);
    let entries = [page | 3, 0].map(u64::to_be_bytes).concat();
    port.fixture
        .device
        .mkeys
        .insert(0x30, MemoryKey::parse(&key(1, 64, 12, &entries)));
    port.post_strides(0, 1, 0x30 << 8 | 7, 0);
    assert_eq!(
        error(&mut port),
        (14, 4, vec!["an address behind the memory key"])
    );
}

#[test]
fn a_link_outside_the_queue_is_an_error() {
    let mut port = Port::striding();
    let address = port.fixture.allocate(2048);
    port.post_strides(0, 4, KEY, address);
    for _ in 0..7 {
        port.receive_one(&frame(50));
    }
    assert_eq!(
        error(&mut port),
        (14, 4, vec!["a link to a receive descriptor outside the queue"])
    );
}

#[test]
fn a_stripped_tag_is_in_the_completion() {
    let mut port = Port::cyclic();
    let tagged = Content {
        vlan: Some(0x123),
        ..Content::default()
    }
    .frame();
    let kept = port.post(&[2048]);
    let completion = port.receive_one(&tagged);
    assert_eq!((completion[29] & 1, word(&completion, 30)), (0, 0));
    assert_eq!(port.fixture.read(kept[0], tagged.len()), tagged);
    port.queue().keeps_vlan = false;
    let stripped = port.post(&[2048]);
    let completion = port.receive_one(&tagged);
    assert_eq!((completion[29] & 1, word(&completion, 30)), (1, 0x123));
    let plain = Content::default().frame();
    assert_eq!(port.fixture.read(stripped[0], plain.len()), plain);
    assert_eq!(number(&completion, 44), plain.len() as u32);
}

#[test]
fn the_frame_check_sequence_follows_where_it_is_asked_for() {
    let mut port = Port::cyclic();
    let mut context = vec![0; 256];
    rqc::STATE.set(&mut context, READY);
    rqc::SCATTER_FCS.set(&mut context, 1);
    port.queue().modify(&context, MODIFY_SCATTER_FCS);
    let buffers = port.post(&[2048]);
    let frame = frame(50);
    let completion = port.receive_one(&frame);
    assert_eq!(number(&completion, 44), frame.len() as u32 + 4);
    let written = port.fixture.read(buffers[0] + frame.len() as u64, 4);
    assert_eq!(written, frame_check::sequence(&frame));
}

#[test]
fn completions_have_the_time_of_the_cards_clock() {
    let mut port = Port::cyclic();
    let time = |completion: &[u8; LENGTH]| {
        u64::from(number(completion, 48)) << 32 | u64::from(number(completion, 52))
    };
    let before = port.fixture.device.now();
    port.post(&[2048]);
    let first = time(&port.receive_one(&frame(50)));
    port.post(&[2048]);
    let second = time(&port.receive_one(&frame(50)));
    assert!(before <= first && first < second && second <= port.fixture.device.now());
}

#[test]
fn completions_say_which_checksums_are_right() {
    let mut port = Port::cyclic();
    let good = Content {
        tcp: true,
        ..Content::default()
    }
    .frame();
    let mut network = good.clone();
    network[24] ^= 1;
    let mut transport = good.clone();
    *transport.last_mut().unwrap() ^= 1;
    let flags = [&good, &network, &transport].map(|frame| {
        port.post(&[2048]);
        port.receive_one(frame)[28]
    });
    assert_eq!(flags, [0b111, 0b101, 0b011]);
    let counters = &port.fixture.device.counters;
    assert_eq!(
        (counters.bad_network_checksums, counters.bad_transport_checksums),
        (1, 1)
    );
}

#[test]
fn the_sum_in_a_completion_is_over_the_ip_packet() {
    let mut port = Port::cyclic();
    let short = Content {
        vlan: Some(5),
        payload: vec![1, 2, 3],
        ..Content::default()
    }
    .frame();
    let mut padded = short.clone();
    padded.extend([0xee; 40]);
    port.post(&[2048]);
    let completion = port.receive_one(&padded);
    assert_eq!(word(&completion, 20), checksum::sum(0, &short[18..]));
}

#[test]
fn completions_name_the_headers() {
    let mut port = Port::cyclic();
    let contents = [
        Content {
            tcp: true,
            ..Content::default()
        },
        Content {
            tcp: true,
            payload: vec![],
            ..Content::default()
        },
        Content {
            version: 6,
            ..Content::default()
        },
    ];
    let kinds = contents.map(|content| {
        port.post(&[2048]);
        port.receive_one(&content.frame())[29]
    });
    assert_eq!(kinds, [4 << 4 | 2 << 2, 3 << 4 | 2 << 2, 2 << 4 | 1 << 2]);
}

#[test]
fn a_table_spreads_frames_by_their_hash() {
    let mut port = Port::cyclic();
    let mut tir = vec![0; 256];
    tirc::DISP_TYPE.set(&mut tir, 1);
    tirc::INDIRECT_TABLE.set(&mut tir, 5);
    tirc::RX_HASH_FN.set(&mut tir, 1);
    tirc::RX_HASH_FIELD_SELECTOR_OUTER.set(&mut tir, 0b11);
    port.fixture.device.tirs.insert(TIR, Tir::parse(&tir));
    let frame = frame(50);
    let hash = Tir::parse(&tir).hash(&frame, &parse(&frame));
    let mut table = vec![RQ + 1; 8];
    table[hash.value as usize % 8] = RQ;
    port.fixture.device.rqts.insert(5, table);
    port.post(&[2048]);
    let completion = port.receive_one(&frame);
    assert_eq!((number(&completion, 12), completion[16]), (hash.value, 1 << 2));
    assert_eq!(number(&completion, 24), RQ);
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
