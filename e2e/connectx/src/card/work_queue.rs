//! Work queues: the ring of descriptors in guest memory that every receive and send queue has.

use crate::card::{layout::wq, queues::Pages};

/// State of a queue that does nothing (`MLX5_RQC_STATE_RST`, `MLX5_SQC_STATE_RST`).
pub(crate) const RESET: u64 = 0;
/// State of a queue that receives or sends.
pub(crate) const READY: u64 = 1;
/// State of a queue after an error. The driver resets it.
pub(crate) const ERROR: u64 = 3;

/// Size of a data segment in a descriptor, in bytes.
pub(crate) const SEGMENT: usize = 16;

/// Size and alignment of a doorbell record, in bytes.
const DOORBELL: u64 = 8;

const CYCLIC: u64 = 1;
const LINKED_LIST_STRIDING: u64 = 2;

/// A work queue.
pub(crate) struct WorkQueue {
    pub(crate) pages: Pages,
    /// Address of the doorbell record: the receive counter, then the send counter, 4 bytes each.
    pub(crate) doorbell: u64,
    /// Log of the number of descriptors, or of 64-byte blocks in a send queue.
    pub(crate) log_size: u32,
    /// Log of the size of a descriptor in bytes.
    pub(crate) log_stride: u32,
    /// Strides of each buffer, in a striding queue.
    pub(crate) strides: Option<Strides>,
}

/// How the buffers of a striding receive queue are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Strides {
    /// Number of strides in a buffer.
    pub(crate) count: u32,
    /// Log of the size of a stride in bytes.
    pub(crate) log_size: u32,
}

impl WorkQueue {
    /// Parses a work queue context (`mlx5_ifc_wq_bits`).
    ///
    /// Returns an error for a misaligned page or doorbell record, and for types that the mlx5 Ethernet driver
    /// does not use: linked lists without strides, and cyclic queues with strides.
    pub(crate) fn parse(context: &[u8]) -> Result<Self, &'static str> {
        let kind = wq::WQ_TYPE.get(context);
        if kind != CYCLIC && kind != LINKED_LIST_STRIDING {
            return Err("a type of work queue that the model does not have");
        }
        let log_size = wq::LOG_WQ_SZ.get(context) as u32;
        let log_stride = wq::LOG_WQ_STRIDE.get(context) as u32;
        // A signed number of 4 bits, relative to MLX5_MPWQE_LOG_NUM_STRIDES_BASE.
        let log_count = 9 + ((wq::LOG_WQE_NUM_OF_STRIDES.get(context) as i32) << 28 >> 28);
        let strides = Strides {
            count: 1 << log_count,
            log_size: 6 + wq::LOG_WQE_STRIDE_SIZE.get(context) as u32,
        };
        let pages = Pages::parse(
            context,
            wq::PAS.byte(),
            wq::LOG_WQ_PG_SZ.get(context),
            wq::PAGE_OFFSET.get(context) * 64,
            1 << (log_size + log_stride),
        );
        pages.check()?;
        let doorbell = wq::DBR_ADDR.get(context);
        if doorbell == 0 || !doorbell.is_multiple_of(DOORBELL) {
            return Err("a doorbell record that is absent or not aligned");
        }
        Ok(Self {
            pages,
            doorbell,
            log_size,
            log_stride,
            strides: (kind == LINKED_LIST_STRIDING).then_some(strides),
        })
    }

    /// Returns the address of byte `offset` of descriptor `index`, which wraps at the size of the queue.
    pub(crate) fn descriptor(&self, index: u16, offset: usize) -> u64 {
        let index = u64::from(index) & ((1 << self.log_size) - 1);
        self.pages.addr((index << self.log_stride) + offset as u64)
    }
}

#[cfg(test)]
mod tests;
