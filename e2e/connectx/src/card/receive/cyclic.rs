//! Cyclic receive queues: a descriptor for each frame, with a list of buffers.

use super::{Placement, ReceiveQueue, Rejection};
use crate::card::{
    completion::Syndrome, descriptor::DataSegment, dma::Dma, mkey::TERMINATE, work_queue::SEGMENT,
};

impl ReceiveQueue {
    /// Writes a frame to the buffers of the next descriptor, which is posted.
    pub(super) fn place_cyclic(&mut self, dma: &mut Dma<'_>, data: &[u8]) -> Result<Placement, Rejection> {
        let protection = |what| Rejection::Broken(Syndrome::LocalProtection, what);
        let buffers = self.buffers(dma).map_err(protection)?;
        let room: usize = buffers.iter().map(|buffer| buffer.length).sum();
        if room < data.len() {
            let what = "a receive descriptor with less room than the frame";
            return Err(Rejection::Broken(Syndrome::LocalLength, what));
        }
        let mut rest = data;
        for buffer in buffers {
            let (part, behind) = rest.split_at(rest.len().min(buffer.length));
            if !part.is_empty() {
                dma.write(buffer.key, buffer.address, part).map_err(protection)?;
            }
            rest = behind;
        }
        let counter = self.consumed;
        self.consumed = self.consumed.wrapping_add(1);
        Ok(Placement {
            descriptor: 0,
            counter,
            byte_count: data.len() as u32,
        })
    }

    /// Reads the buffers of the next descriptor, which end with a special key or the descriptor.
    fn buffers(&self, dma: &mut Dma<'_>) -> Result<Vec<DataSegment>, &'static str> {
        let mut buffers = Vec::new();
        for offset in (0..1 << self.work.log_stride).step_by(SEGMENT) {
            let mut segment = [0; SEGMENT];
            if !dma
                .memory
                .read(self.work.descriptor(self.consumed, offset), &mut segment)
            {
                return Err("a receive descriptor outside guest memory");
            }
            let buffer = DataSegment::parse(&segment);
            if buffer.key == TERMINATE {
                break;
            }
            buffers.push(buffer);
        }
        Ok(buffers)
    }
}
