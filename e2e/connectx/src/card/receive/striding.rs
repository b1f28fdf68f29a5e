//! Striding receive queues: descriptors in a linked list, each with a buffer for many frames.

use super::{Placement, ReceiveQueue, Rejection};
use crate::card::{
    completion::{Completion, LENGTH, RECEIVED, Syndrome, put},
    descriptor::DataSegment,
    dma::Dma,
    parse::word,
    work_queue::{SEGMENT, Strides},
};

/// Bit of the byte count that marks a filler (`MPWRQ_BC_FILLER`).
const FILLER: u32 = 1 << 31;
/// Offset of the index of the next descriptor in a descriptor (`struct mlx5_wqe_srq_next_seg`).
const NEXT: usize = 2;

impl Strides {
    /// Returns the number of strides for a frame.
    fn needed(self, length: usize) -> u32 {
        (length as u32).div_ceil(1 << self.log_size).max(1)
    }
}

impl ReceiveQueue {
    /// Skips the rest of the buffer in use if a frame of `length` bytes does not fit.
    ///
    /// Returns the completion for the strides that it skips.
    pub(super) fn filler(&mut self, dma: &mut Dma<'_>, number: u32, length: usize) -> Option<Completion> {
        let strides = self.work.strides?;
        let left = strides.count - self.stride;
        if self.stride == 0 || strides.needed(length) <= left || !matches!(self.has_descriptor(dma), Ok(true))
        {
            return None;
        }
        let mut entry = [0; LENGTH];
        put(&mut entry, 2, &self.current.to_be_bytes());
        put(&mut entry, 24, &number.to_be_bytes());
        put(&mut entry, 44, &(FILLER | left << 16).to_be_bytes());
        put(&mut entry, 60, &(self.stride as u16).to_be_bytes());
        self.follow_link(dma).ok()?;
        Some(Completion {
            queue: self.cqn,
            opcode: RECEIVED,
            entry,
        })
    }

    /// Writes a frame to the next strides of the descriptor in use, which is posted.
    pub(super) fn place_striding(
        &mut self,
        dma: &mut Dma<'_>,
        strides: Strides,
        data: &[u8],
    ) -> Result<Placement, Rejection> {
        let protection = |what| Rejection::Broken(Syndrome::LocalProtection, what);
        let needed = strides.needed(data.len());
        if self.stride + needed > strides.count {
            let what = "a receive descriptor with fewer strides than the frame needs";
            return Err(Rejection::Broken(Syndrome::LocalLength, what));
        }
        let buffer = self.buffer(dma).map_err(protection)?;
        let offset = u64::from(self.stride) << strides.log_size;
        if (offset as usize) + data.len() > buffer.length {
            return Err(protection(
                "a receive descriptor whose buffer is smaller than its strides",
            ));
        }
        dma.write(buffer.key, buffer.address + offset, data)
            .map_err(protection)?;
        let placement = Placement {
            descriptor: self.current,
            counter: self.stride as u16,
            byte_count: needed << 16 | data.len() as u32,
        };
        self.stride += needed;
        if self.stride == strides.count {
            self.follow_link(dma).map_err(protection)?;
        }
        Ok(placement)
    }

    /// Reads the buffer of the descriptor in use.
    fn buffer(&self, dma: &mut Dma<'_>) -> Result<DataSegment, &'static str> {
        let mut segment = [0; SEGMENT];
        if !dma
            .memory
            .read(self.work.descriptor(self.current, SEGMENT), &mut segment)
        {
            return Err("a receive descriptor outside guest memory");
        }
        Ok(DataSegment::parse(&segment))
    }

    /// Goes to the next descriptor of the list.
    fn follow_link(&mut self, dma: &mut Dma<'_>) -> Result<(), &'static str> {
        let mut link = [0; SEGMENT];
        if !dma.memory.read(self.work.descriptor(self.current, 0), &mut link) {
            return Err("a receive descriptor outside guest memory");
        }
        let next = word(&link, NEXT);
        if u32::from(next) >= 1 << self.work.log_size {
            return Err("a link to a receive descriptor outside the queue");
        }
        self.current = next;
        self.stride = 0;
        self.consumed = self.consumed.wrapping_add(1);
        Ok(())
    }
}
