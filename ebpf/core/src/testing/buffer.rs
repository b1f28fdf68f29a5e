//! A frame that can be changed.

use std::vec::Vec;

use crate::{parse::Bytes, reject::Edit};

/// A frame with as much headroom as drivers leave.
#[derive(Clone, Debug)]
pub struct FrameBuffer {
    /// The frame.
    pub bytes: Vec<u8>,
    /// Bytes by which the frame can still grow at its front.
    pub headroom: usize,
}

impl FrameBuffer {
    /// Returns a frame with 256 bytes of headroom.
    pub fn new(frame: &[u8]) -> Self {
        Self {
            bytes: frame.to_vec(),
            headroom: 256,
        }
    }
}

impl Bytes for FrameBuffer {
    fn length(&self) -> usize {
        self.bytes.len()
    }

    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.bytes.as_slice().read(offset)
    }
}

impl Edit for FrameBuffer {
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        self.bytes.get_mut(offset..offset + N)?.copy_from_slice(&bytes);
        Some(())
    }

    /// The new bytes have a value that shows where nothing was written.
    fn grow(&mut self, bytes: usize) -> Option<()> {
        self.headroom = self.headroom.checked_sub(bytes)?;
        self.bytes.splice(..0, core::iter::repeat_n(0xee, bytes));
        Some(())
    }

    fn truncate(&mut self, length: usize) -> Option<()> {
        self.bytes.truncate(length);
        Some(())
    }
}
