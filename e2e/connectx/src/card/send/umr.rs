//! UMR (user memory registration) work requests: the driver gives the buffers of a striding receive queue.

use super::{Failure, descriptor::Descriptor};
use crate::card::{device::Device, parse::word};

/// Offset of the control segment (`struct mlx5_wqe_umr_ctrl_seg`).
const CONTROL: usize = 16;
/// Offset of the translations, behind the control segment and the memory key context.
const TRANSLATIONS: usize = 128;
/// Unit of offsets and lengths of translations, in bytes.
const UNIT: usize = 16;
/// Flag: the translations are in the work request (`MLX5_UMR_INLINE`).
const INLINE: u8 = 1 << 7;
/// Flag: there is an offset (`MLX5_UMR_TRANSLATION_OFFSET_EN`).
const OFFSET: u8 = 1 << 4;

/// Bit of the mask of changes: whether the key is free (`MLX5_MKEY_MASK_FREE`).
const FREE: usize = 1 << 29;
/// Offset of the memory key context, and the bit in its first byte (`MLX5_MKEY_STATUS_FREE`).
const CONTEXT: usize = 64;
const CONTEXT_FREE: u8 = 1 << 6;

impl Device {
    /// Writes translations into a memory key.
    pub(super) fn update_memory_key(&mut self, descriptor: &Descriptor) -> Result<(), Failure> {
        let bytes = &descriptor.bytes;
        if bytes.len() < TRANSLATIONS {
            return Err(Failure::operation("a UMR without its segments"));
        }
        if bytes[CONTROL] & INLINE == 0 {
            return Err(Failure::operation("a UMR whose translations are not inline"));
        }
        let number = |at: usize| usize::from(word(bytes, at)) << 16 | usize::from(word(bytes, at + 2));
        let length = usize::from(word(bytes, CONTROL + 4)) * UNIT;
        let offset = if bytes[CONTROL] & OFFSET != 0 {
            (number(CONTROL + 16) << 16 | usize::from(word(bytes, CONTROL + 6))) * UNIT
        } else {
            0
        };
        let free = (number(CONTROL + 12) & FREE != 0).then_some(bytes[CONTEXT] & CONTEXT_FREE != 0);
        let entries = bytes
            .get(TRANSLATIONS..TRANSLATIONS + length)
            .ok_or(Failure::operation("a UMR with fewer translations than it says"))?;
        let key = self
            .mkeys
            .get_mut(&((number(12) >> 8) as u32))
            .ok_or(Failure::protection("a UMR for an unknown memory key"))?;
        key.update(offset, entries, free).map_err(Failure::protection)?;
        self.counters.umr += 1;
        Ok(())
    }
}
