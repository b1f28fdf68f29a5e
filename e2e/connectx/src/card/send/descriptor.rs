//! Work requests: the control segment, and the fetch from the ring.

use super::{Failure, SendQueue};
use crate::card::{completion::Syndrome, memory::GuestMemory, parse::word, work_queue::SEGMENT};

/// Size of a block of the ring, in bytes. A work request has one or more.
const BLOCK: usize = 64;
/// Bit of `fm_ce_se`: the driver wants a completion (`MLX5_WQE_CTRL_CQ_UPDATE`).
const SIGNALLED: u8 = 1 << 3;

/// Kinds of work requests (`MLX5_OPCODE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Nop,
    Send,
    /// Send with segmentation.
    LargeSend,
    Umr,
    /// Several packets, which share the Ethernet segment.
    MultiPacketSend,
}

impl Opcode {
    pub(super) fn parse(number: u8) -> Option<Self> {
        match number {
            0x00 => Some(Self::Nop),
            0x0a => Some(Self::Send),
            0x0e => Some(Self::LargeSend),
            0x25 => Some(Self::Umr),
            0x29 => Some(Self::MultiPacketSend),
            _ => None,
        }
    }
}

/// A work request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// Index of its first block since the reset.
    pub(super) index: u16,
    pub(super) opcode: u8,
    /// Whether the driver wants a completion.
    pub(super) signalled: bool,
    /// All of it, with the control segment.
    pub(super) bytes: Vec<u8>,
}

impl SendQueue {
    /// Takes the next work request from the ring, or `None` if the driver has posted no other.
    ///
    /// After a failure, for which it returns the index, the queue skips all that is posted.
    pub(super) fn fetch(
        &mut self,
        memory: &mut GuestMemory,
        number: u32,
    ) -> Result<Option<Descriptor>, (u16, Failure)> {
        let index = self.consumed;
        let posted = memory.be32(self.work.doorbell + 4) as u16;
        let available = posted.wrapping_sub(index);
        if available == 0 {
            return Ok(None);
        }
        let descriptor = self.read(memory, number, available);
        self.consumed = match &descriptor {
            Ok(descriptor) => index.wrapping_add(descriptor.bytes.len().div_ceil(BLOCK) as u16),
            Err(_) => posted,
        };
        descriptor.map(Some).map_err(|failure| (index, failure))
    }

    fn read(&self, memory: &mut GuestMemory, number: u32, available: u16) -> Result<Descriptor, Failure> {
        if u32::from(available) > 1 << self.work.log_size {
            return Err(Failure::operation("a send doorbell beyond the size of the queue"));
        }
        let index = self.consumed;
        let mut bytes = self.block(memory, index)?;
        let control: [u8; SEGMENT] = std::array::from_fn(|at| bytes[at]);
        let length = usize::from(control[7] & 0x3f) * SEGMENT;
        let blocks = length.div_ceil(BLOCK) as u16;
        let owner = u32::from(word(&control, 4)) << 8 | u32::from(control[6]);
        if owner != number {
            return Err(Failure::operation(
                "a work request with the number of another queue",
            ));
        }
        if word(&control, 1) != index {
            return Err(Failure::operation("a work request with the index of another"));
        }
        if blocks == 0 || blocks > available {
            return Err(Failure::operation(
                "a work request longer than what is posted, or empty",
            ));
        }
        for block in 1..blocks {
            bytes.extend(self.block(memory, index.wrapping_add(block))?);
        }
        bytes.truncate(length);
        Ok(Descriptor {
            index,
            opcode: control[3],
            signalled: control[11] & SIGNALLED != 0,
            bytes,
        })
    }

    fn block(&self, memory: &mut GuestMemory, index: u16) -> Result<Vec<u8>, Failure> {
        let mut block = vec![0; BLOCK];
        if memory.read(self.work.descriptor(index, 0), &mut block) {
            Ok(block)
        } else {
            Err(Failure {
                syndrome: Syndrome::LocalProtection,
                what: "a send queue outside guest memory",
            })
        }
    }
}
