//! Completion queue entries (`struct mlx5_cqe64`, include/linux/mlx5/device.h, Linux 6.12).

/// Length of an entry, in bytes.
pub(crate) const LENGTH: usize = 64;

/// Opcode of an entry for a work request that was sent (`MLX5_CQE_REQ`).
pub(crate) const SENT: u8 = 0;
/// Opcode of an entry for a received frame (`MLX5_CQE_RESP_SEND`).
pub(crate) const RECEIVED: u8 = 2;
/// Opcode of an error of a send queue (`MLX5_CQE_REQ_ERR`).
pub(crate) const SEND_ERROR: u8 = 13;
/// Opcode of an error of a receive queue (`MLX5_CQE_RESP_ERR`).
pub(crate) const RECEIVE_ERROR: u8 = 14;

/// Why a work request failed (`MLX5_CQE_SYNDROME_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syndrome {
    LocalLength = 0x01,
    LocalOperation = 0x02,
    LocalProtection = 0x04,
    Flushed = 0x05,
}

/// The vendor syndrome of errors, which only appears in the driver's log.
const VENDOR_SYNDROME: u8 = 0x68;

/// An entry for a completion queue, without the owner bit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Completion {
    /// Number of the completion queue.
    pub(crate) queue: u32,
    pub(crate) opcode: u8,
    pub(crate) entry: [u8; LENGTH],
}

impl Completion {
    /// Returns the completion of a work request that was sent.
    pub(crate) fn sent(queue: u32, number: u32, opcode: u8, index: u16, timestamp: u64) -> Self {
        let mut entry = [0; LENGTH];
        put(&mut entry, 48, &timestamp.to_be_bytes());
        put(&mut entry, 56, &(u32::from(opcode) << 24 | number).to_be_bytes());
        put(&mut entry, 60, &index.to_be_bytes());
        Self {
            queue,
            opcode: SENT,
            entry,
        }
    }

    /// Returns the completion of a work request of a send queue that failed.
    pub(crate) fn send_error(queue: u32, number: u32, opcode: u8, index: u16, syndrome: Syndrome) -> Self {
        let mut entry = error(u32::from(opcode) << 24 | number, index, syndrome);
        put(&mut entry, 2, &[0; 2]);
        Self {
            queue,
            opcode: SEND_ERROR,
            entry,
        }
    }

    /// Returns the completion of a receive descriptor that failed.
    pub(crate) fn receive_error(queue: u32, number: u32, index: u16, syndrome: Syndrome) -> Self {
        Self {
            queue,
            opcode: RECEIVE_ERROR,
            entry: error(number, index, syndrome),
        }
    }
}

fn error(number: u32, index: u16, syndrome: Syndrome) -> [u8; LENGTH] {
    let mut entry = [0; LENGTH];
    put(&mut entry, 2, &index.to_be_bytes());
    put(&mut entry, 54, &[VENDOR_SYNDROME, syndrome as u8]);
    put(&mut entry, 56, &number.to_be_bytes());
    put(&mut entry, 60, &index.to_be_bytes());
    entry
}

/// Writes a field of an entry.
pub(crate) fn put(entry: &mut [u8; LENGTH], at: usize, bytes: &[u8]) {
    entry[at..at + bytes.len()].copy_from_slice(bytes);
}
