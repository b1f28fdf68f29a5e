//! Faults on demand that are more than a flag.

use crate::card::{completion::Syndrome, device::Device, work_queue::READY};

impl Device {
    /// Puts the newest receive queue that has received frames into error; returns false if there is none.
    pub(crate) fn receive_queue_error(&mut self) -> bool {
        let mut queues = self.rqs.iter_mut().rev();
        let Some((number, queue)) = queues.find(|(_, queue)| queue.state == READY && queue.frames > 0) else {
            return false;
        };
        let completion = queue.fail(*number, Syndrome::LocalProtection);
        self.complete([completion]);
        true
    }
}
