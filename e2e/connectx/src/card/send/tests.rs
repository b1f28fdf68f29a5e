mod packets;
mod refusals;
mod umr;

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
