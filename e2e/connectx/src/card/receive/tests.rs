mod arrival;
mod cyclic;
mod hints;
mod striding;

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
    steering::{self, FlowTable},
    work_queue::READY,
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
