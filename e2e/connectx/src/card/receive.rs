//! Receive queues.

mod arrival;
mod completion;
mod cyclic;
mod frame_check;
mod striding;

pub(crate) use arrival::SHORTEST;

use crate::card::{
    completion::{Completion, Syndrome},
    dma::Dma,
    layout::rqc,
    work_queue::{ERROR, RESET, WorkQueue},
};

/// Bits of the mask of `MODIFY_RQ` (`MLX5_MODIFY_RQ_IN_MODIFY_BITMASK_*`).
const MODIFY_VSD: u64 = 1 << 1;
const MODIFY_SCATTER_FCS: u64 = 1 << 2;
const MODIFY_COUNTER: u64 = 1 << 3;

/// A receive queue.
pub(crate) struct ReceiveQueue {
    pub(crate) state: u64,
    /// Number of the completion queue.
    pub(crate) cqn: u32,
    /// Whether VLAN tags stay in the frame.
    pub(crate) keeps_vlan: bool,
    /// Whether the FCS follows the frame.
    pub(crate) scatter_fcs: bool,
    /// Number of the queue counter.
    pub(crate) counter: u32,
    /// Frames written to memory.
    pub(crate) frames: u64,
    /// Frames for which there was no buffer.
    pub(crate) out_of_buffer: u64,
    work: WorkQueue,
    /// Descriptors used since the reset. The driver's doorbell record has those posted.
    consumed: u16,
    /// In a striding queue, the descriptor in use.
    current: u16,
    /// In a striding queue, the strides used of the descriptor in use.
    stride: u32,
}

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Placement {
    /// Index of the descriptor, in a striding queue.
    descriptor: u16,
    /// Counter of the descriptor; in a striding queue, the first stride.
    counter: u16,
    /// Length; in a striding queue, also the number of strides, from bit 16.
    byte_count: u32,
}

/// Why a frame is nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rejection {
    OutOfBuffer,
    /// The queue is in error from now on.
    Broken(Syndrome, &'static str),
}

impl ReceiveQueue {
    /// Parses a receive queue context (`mlx5_ifc_rqc_bits`).
    ///
    /// Returns an error for a work queue that the card refuses.
    pub(crate) fn parse(context: &[u8]) -> Result<Self, &'static str> {
        Ok(Self {
            state: rqc::STATE.get(context),
            cqn: rqc::CQN.get(context) as u32,
            keeps_vlan: rqc::VSD.get(context) == 1,
            scatter_fcs: rqc::SCATTER_FCS.get(context) == 1,
            counter: rqc::COUNTER_SET_ID.get(context) as u32,
            frames: 0,
            out_of_buffer: 0,
            work: WorkQueue::parse(context.get(rqc::WQ.byte()..).unwrap_or_default())?,
            consumed: 0,
            current: 0,
            stride: 0,
        })
    }

    /// Takes the state of a context, and what `mask` selects.
    pub(crate) fn modify(&mut self, context: &[u8], mask: u64) {
        self.state = rqc::STATE.get(context);
        if self.state == RESET {
            (self.consumed, self.current, self.stride) = (0, 0, 0);
        }
        if mask & MODIFY_VSD != 0 {
            self.keeps_vlan = rqc::VSD.get(context) == 1;
        }
        if mask & MODIFY_SCATTER_FCS != 0 {
            self.scatter_fcs = rqc::SCATTER_FCS.get(context) == 1;
        }
        if mask & MODIFY_COUNTER != 0 {
            self.counter = rqc::COUNTER_SET_ID.get(context) as u32;
        }
    }

    /// Whether this is a striding queue.
    pub(crate) fn striding(&self) -> bool {
        self.work.strides.is_some()
    }

    /// Puts the queue into error. Returns the completion that says so.
    pub(crate) fn fail(&mut self, number: u32, syndrome: Syndrome) -> Completion {
        self.state = ERROR;
        let index = if self.striding() {
            self.current
        } else {
            self.consumed
        };
        Completion::receive_error(self.cqn, number, index, syndrome)
    }

    /// Returns whether the driver has posted a descriptor that is not used yet.
    fn has_descriptor(&self, dma: &mut Dma<'_>) -> Result<bool, &'static str> {
        let posted = dma.memory.be32(self.work.doorbell) as u16;
        let available = posted.wrapping_sub(self.consumed);
        if u32::from(available) > 1 << self.work.log_size {
            return Err("a receive doorbell beyond the size of the queue");
        }
        Ok(available > 0)
    }

    fn place(&mut self, dma: &mut Dma<'_>, data: &[u8]) -> Result<Placement, Rejection> {
        match self.has_descriptor(dma) {
            Err(what) => return Err(Rejection::Broken(Syndrome::LocalOperation, what)),
            Ok(false) => return Err(Rejection::OutOfBuffer),
            Ok(true) => {}
        }
        let placement = match self.work.strides {
            Some(strides) => self.place_striding(dma, strides, data),
            None => self.place_cyclic(dma, data),
        }?;
        self.frames += 1;
        Ok(placement)
    }
}

#[cfg(test)]
mod tests;
