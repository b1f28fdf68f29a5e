//! Data segments of descriptors (`struct mlx5_wqe_data_seg`, include/linux/mlx5/qp.h, Linux 6.12).

use crate::card::work_queue::SEGMENT;

/// Bit of the byte count: the data follows in the descriptor (`MLX5_INLINE_SEG`).
pub(crate) const INLINE: u32 = 1 << 31;

/// A buffer in guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DataSegment {
    pub(crate) length: usize,
    pub(crate) key: u32,
    pub(crate) address: u64,
}

impl DataSegment {
    pub(crate) fn parse(bytes: &[u8; SEGMENT]) -> Self {
        let number = u128::from_be_bytes(*bytes);
        Self {
            length: ((number >> 96) as u32 & !INLINE) as usize,
            key: (number >> 64) as u32,
            address: number as u64,
        }
    }
}
