//! A card with guest memory, for tests: the test is the driver.

use std::{collections::BTreeMap, fs::File, os::fd::OwnedFd};

use etherparse::{PacketBuilder, VlanId};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::card::{
    bits::Field,
    completion::LENGTH,
    device::Device,
    findings::Finding,
    layout::{create_mkey_in, mkc, wq},
    mkey::MemoryKey,
    profile::Profile,
    queues::{CompletionQueue, Pages},
    receive::ReceiveQueue,
};

/// Bus address of the memory.
const START: u64 = 0x4000_0000;
const SIZE: u64 = 16 << 20;
const PAGE: u64 = 4096;

/// A key to all memory.
pub(crate) const KEY: u32 = 0x20 << 8 | 0x07;

pub(crate) const MAC: [u8; 6] = [0x02, 0x15, 0xb3, 0, 0, 1];
pub(crate) const PEER: [u8; 6] = [0x02, 0, 0, 0, 0, 9];

/// A ring of completions, as the driver reads it.
struct Ring {
    address: u64,
    doorbell: u64,
    log_size: u32,
    consumer: u32,
}

pub(crate) struct Fixture {
    pub(crate) device: Device,
    free: u64,
    rings: BTreeMap<u32, Ring>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::of(Profile::CONNECTX_6_DX)
    }

    pub(crate) fn of(profile: Profile) -> Self {
        let memory: OwnedFd = memfd_create(c"guest", MFdFlags::MFD_CLOEXEC).unwrap();
        let memory = File::from(memory);
        memory.set_len(SIZE).unwrap();
        let mut device = Device::new(profile);
        device.configuration.write(0x04, &[1 << 2]);
        device.memory.map(START, SIZE, 0, &memory).unwrap();
        (device.admin_up, device.mtu) = (true, 9022);
        device.mkeys.insert(KEY >> 8, physical());
        Self {
            device,
            free: START,
            rings: BTreeMap::new(),
        }
    }

    /// Returns the address of zeroed pages.
    pub(crate) fn allocate(&mut self, length: usize) -> u64 {
        let address = self.free;
        self.free += (length as u64).next_multiple_of(PAGE);
        assert!(self.free <= START + SIZE);
        address
    }

    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) {
        assert!(self.device.memory.write(address, bytes));
    }

    pub(crate) fn read(&mut self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        assert!(self.device.memory.read(address, &mut bytes));
        bytes
    }

    /// Writes data to new memory. Returns its address.
    pub(crate) fn store(&mut self, bytes: &[u8]) -> u64 {
        let address = self.allocate(bytes.len());
        self.write(address, bytes);
        address
    }

    pub(crate) fn completion_queue(&mut self, number: u32, log_size: u32) {
        let (address, doorbell) = (self.allocate(LENGTH << log_size), self.allocate(8));
        let pages = Pages::parse(&address.to_be_bytes(), 0, 0, 0, (LENGTH << log_size) as u64);
        let queue = CompletionQueue::new(pages, log_size, 1, doorbell);
        self.device.cqs.insert(number, queue);
        // The driver gives all entries to the card first.
        self.write(address, &[0xf1; LENGTH].repeat(1 << log_size));
        self.rings.insert(
            number,
            Ring {
                address,
                doorbell,
                log_size,
                consumer: 0,
            },
        );
    }

    /// Takes the new completions of a queue, by their owner bits.
    pub(crate) fn completions(&mut self, number: u32) -> Vec<[u8; LENGTH]> {
        let mut ring = self.rings.remove(&number).unwrap();
        let mut completions = Vec::new();
        loop {
            let index = u64::from(ring.consumer & ((1 << ring.log_size) - 1));
            let entry = self.read(ring.address + index * LENGTH as u64, LENGTH);
            let invalid = entry[63] >> 4 == 0xf;
            if invalid || u32::from(entry[63] & 1) != ring.consumer >> ring.log_size & 1 {
                break;
            }
            ring.consumer += 1;
            completions.push(entry.try_into().unwrap());
        }
        self.write(ring.doorbell, &ring.consumer.to_be_bytes());
        self.rings.insert(number, ring);
        completions
    }

    /// Returns the findings since the last call.
    pub(crate) fn problems(&self) -> Vec<&'static str> {
        let queue = |finding| match finding {
            Finding::Queue { what, .. } => what,
            _ => "a finding that is not about a queue",
        };
        self.device.findings().into_iter().map(queue).collect()
    }

    /// Inserts a receive queue that is ready, and posts all its descriptors.
    pub(crate) fn receive_queue(&mut self, number: u32, context: &[u8]) {
        let mut queue = ReceiveQueue::parse(context).unwrap();
        queue.state = crate::card::work_queue::READY;
        self.device.rqs.insert(number, queue);
    }
}

/// Returns a key for all addresses.
fn physical() -> MemoryKey {
    MemoryKey::parse(&key(0, 0, 0, &[]))
}

/// Returns the input of `CREATE_MKEY` for a key that may be read, written and changed.
///
/// The key covers all addresses if `length` is 0.
pub(crate) fn key(mode: u64, length: u64, log_page: u64, translations: &[u8]) -> Vec<u8> {
    let mut input = vec![0; create_mkey_in::KLM_PAS_MTT.byte()];
    let context = create_mkey_in::MEMORY_KEY_MKEY_ENTRY;
    for (field, value) in [
        (mkc::MKEY_7_0, u64::from(KEY & 0xff)),
        (mkc::LR, 1),
        (mkc::LW, 1),
        (mkc::UMR_EN, 1),
        (mkc::ACCESS_MODE_1_0, mode),
        (mkc::LEN, length),
        (mkc::LENGTH64, u64::from(length == 0)),
        (mkc::LOG_PAGE_SIZE, log_page),
    ] {
        field.inside(context).set(&mut input, value);
    }
    let octowords = translations.len() as u64 / 16;
    create_mkey_in::TRANSLATIONS_OCTWORD_ACTUAL_SIZE.set(&mut input, octowords);
    input.extend_from_slice(translations);
    input
}

/// A work queue for a context.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    /// Type: 1 is cyclic, 2 is striding.
    pub(crate) kind: u64,
    pub(crate) log_size: u64,
    pub(crate) log_stride: u64,
    /// Log of the number of strides, and of the size of a stride.
    pub(crate) strides: (u64, u64),
    pub(crate) ring: u64,
    pub(crate) doorbell: u64,
}

/// Returns a queue context with the work queue at the field `at`, and other fields.
pub(crate) fn context(at: Field, work: Work, fields: &[(Field, u64)]) -> Vec<u8> {
    let mut context = vec![0; at.byte() + wq::PAS.byte() + 8];
    for (field, value) in [
        (wq::WQ_TYPE, work.kind),
        (wq::LOG_WQ_SZ, work.log_size),
        (wq::LOG_WQ_STRIDE, work.log_stride),
        (wq::LOG_WQE_NUM_OF_STRIDES, work.strides.0.wrapping_sub(9)),
        (wq::LOG_WQE_STRIDE_SIZE, work.strides.1.saturating_sub(6)),
        (wq::DBR_ADDR, work.doorbell),
        (Field::new(wq::PAS.bit, 64), work.ring),
    ] {
        field.inside(at).set(&mut context, value);
    }
    for (field, value) in fields {
        field.set(&mut context, *value);
    }
    context
}

/// Returns a data segment.
pub(crate) fn data(length: usize, key: u32, address: u64) -> [u8; 16] {
    (u128::from(length as u32) << 96 | u128::from(key) << 64 | u128::from(address)).to_be_bytes()
}

/// What is in a frame.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) vlan: Option<u16>,
    pub(crate) version: u8,
    pub(crate) tcp: bool,
    pub(crate) payload: Vec<u8>,
}

impl Default for Content {
    fn default() -> Self {
        Self {
            vlan: None,
            version: 4,
            tcp: false,
            payload: (0..100).collect(),
        }
    }
}

impl Content {
    /// Builds the frame, with right checksums.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(PEER, MAC);
        let network = match (self.vlan, self.version) {
            (None, 4) => ethernet.ipv4([10, 9, 0, 2], [10, 9, 0, 1], 64),
            (None, _) => ethernet.ipv6([9; 16], [8; 16], 64),
            (Some(vlan), version) => {
                let tagged = ethernet.single_vlan(VlanId::try_new(vlan).unwrap());
                match version {
                    4 => tagged.ipv4([10, 9, 0, 2], [10, 9, 0, 1], 64),
                    _ => tagged.ipv6([9; 16], [8; 16], 64),
                }
            }
        };
        let mut frame = Vec::new();
        if self.tcp {
            let tcp = network.tcp(5000, 80, 0xffff_ff00, 1000).ack(77).psh().fin().cwr();
            tcp.write(&mut frame, &self.payload).unwrap();
        } else {
            network.udp(5000, 53).write(&mut frame, &self.payload).unwrap();
        }
        frame
    }
}
