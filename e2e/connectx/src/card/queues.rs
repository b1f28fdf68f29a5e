//! Event queues, completion queues, and the lists of guest pages in which every queue lives.

use crate::card::{bits::Field, device::Device};

/// The size of an event and of a completion, in bytes.
pub(crate) const ENTRY: u64 = 64;
/// Consumer indexes are this wide.
const INDEX: u32 = 0xff_ffff;

/// The pages of a queue.
pub(crate) struct Pages {
    addresses: Vec<u64>,
    log_size: u32,
    offset: u64,
    length: u64,
}

impl Pages {
    /// Reads a list of page addresses.
    ///
    /// The list begins at the byte `at`; its pages have 2^(12 + `log_size`) bytes, of which `length` belong
    /// to the queue from `offset` on.
    pub(crate) fn parse(input: &[u8], at: usize, log_size: u64, offset: u64, length: u64) -> Self {
        let log_size = 12 + log_size as u32;
        let count = (offset + length).div_ceil(1 << log_size) as usize;
        let list = input.get(at..).unwrap_or_default();
        Self {
            addresses: list
                .chunks_exact(8)
                .take(count)
                .map(|entry| Field::new(0, 64).get(entry))
                .collect(),
            log_size,
            offset,
            length,
        }
    }

    /// Returns what is wrong with the list.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let size = 1_u64 << self.log_size;
        if (self.addresses.len() as u64) < (self.offset + self.length).div_ceil(size) {
            return Err("the list of pages is too short");
        }
        if self
            .addresses
            .iter()
            .any(|address| *address == 0 || !address.is_multiple_of(size))
        {
            return Err("a page that is absent or not aligned");
        }
        Ok(())
    }

    /// Returns the address of a byte of the queue; the address 0, where there is no memory, behind its end.
    pub(crate) fn addr(&self, byte: u64) -> u64 {
        let byte = byte + self.offset;
        let page = self.addresses.get((byte >> self.log_size) as usize);
        page.map_or(0, |page| page + (byte & ((1 << self.log_size) - 1)))
    }
}

/// The types of events that the card reports (`MLX5_EVENT_TYPE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Event {
    Completion = 0x00,
    Port = 0x09,
    Command = 0x0a,
}

/// A queue of events, with an interrupt.
pub(crate) struct EventQueue {
    pub(crate) pages: Pages,
    log_size: u32,
    pub(crate) vector: usize,
    producer: u32,
    consumer: u32,
    armed: bool,
    /// A bit for each type of event.
    mask: [u64; 4],
}

impl EventQueue {
    pub(crate) fn new(pages: Pages, log_size: u32, vector: usize, mask: [u64; 4]) -> Self {
        Self {
            pages,
            log_size,
            vector,
            producer: 0,
            consumer: 0,
            armed: false,
            mask,
        }
    }

    fn has(&self, event: Event) -> bool {
        let event = event as usize;
        self.mask[event / 64] >> (event % 64) & 1 == 1
    }
}

/// A queue of completions, which reports to an event queue.
pub(crate) struct CompletionQueue {
    pages: Pages,
    log_size: u32,
    pub(crate) eqn: u32,
    /// Where the driver writes its consumer index.
    doorbell: u64,
    producer: u32,
    armed: bool,
}

impl CompletionQueue {
    pub(crate) fn new(pages: Pages, log_size: u32, eqn: u32, doorbell: u64) -> Self {
        Self {
            pages,
            log_size,
            eqn,
            doorbell,
            producer: 0,
            armed: false,
        }
    }
}

/// Returns the offset of an entry in its queue.
fn position(producer: u32, log_size: u32) -> u64 {
    u64::from(producer & ((1 << log_size) - 1)) * ENTRY
}

/// Returns the bit that says whose an entry is: it changes with every time through the queue.
fn owner(producer: u32, log_size: u32) -> u8 {
    (producer >> log_size & 1) as u8
}

impl Device {
    /// Writes an event and interrupts if the driver armed the queue.
    pub(crate) fn push_event(&mut self, eqn: u32, event: Event, subtype: u8, data: &[u8; 28]) {
        let Some(queue) = self.eqs.get_mut(&eqn) else {
            return;
        };
        if queue.producer.wrapping_sub(queue.consumer) & INDEX >= 1 << queue.log_size {
            self.findings.queue(eqn, "the event queue overran");
        }
        let mut entry = [0; ENTRY as usize];
        entry[1] = event as u8;
        entry[3] = subtype;
        entry[32..60].copy_from_slice(data);
        entry[63] = owner(queue.producer, queue.log_size);
        let address = queue.pages.addr(position(queue.producer, queue.log_size));
        self.memory.write_owned(address, &entry);
        queue.producer = queue.producer.wrapping_add(1);
        self.counters.events += 1;
        if std::mem::take(&mut queue.armed) {
            self.interrupts.fire(queue.vector);
        }
    }

    /// Returns the queue that gets events of a type.
    pub(crate) fn event_queue_for(&self, event: Event) -> Option<u32> {
        self.eqs
            .iter()
            .find(|(_, queue)| queue.has(event))
            .map(|(number, _)| *number)
    }

    /// The driver's doorbell: it has consumed the events before `consumer`.
    pub(crate) fn event_doorbell(&mut self, eqn: u32, consumer: u32, arm: bool) {
        let Some(queue) = self.eqs.get_mut(&eqn) else {
            return self.findings.queue(eqn, "a doorbell for an unknown event queue");
        };
        queue.consumer = consumer;
        if !arm {
            return;
        }
        // Events that came between the driver's last look and its arming must not wait.
        queue.armed = queue.producer & INDEX == consumer & INDEX;
        if !queue.armed {
            self.interrupts.fire(queue.vector);
        }
    }

    fn completion_event(&mut self, cqn: u32) {
        let Some(queue) = self.cqs.get(&cqn) else { return };
        let mut data = [0; 28];
        data[24..].copy_from_slice(&cqn.to_be_bytes());
        self.push_event(queue.eqn, Event::Completion, 0, &data);
    }

    /// The driver arms a completion queue.
    pub(crate) fn arm(&mut self, cqn: u32, consumer: u32) {
        let Some(queue) = self.cqs.get_mut(&cqn) else {
            return self
                .findings
                .queue(cqn, "a doorbell for an unknown completion queue");
        };
        queue.armed = queue.producer & INDEX == consumer & INDEX;
        if !queue.armed {
            self.completion_event(cqn);
        }
    }

    /// Writes a completion, with its opcode and owner.
    pub(crate) fn push_cqe(&mut self, cqn: u32, mut entry: [u8; 64], opcode: u8) {
        let Some(queue) = self.cqs.get_mut(&cqn) else {
            return self.findings.queue(cqn, "a completion for an unknown queue");
        };
        let consumer = self.memory.be32(queue.doorbell);
        if queue.producer.wrapping_sub(consumer) & INDEX >= 1 << queue.log_size {
            self.findings.queue(cqn, "the completion queue overran");
        }
        entry[63] = opcode << 4 | owner(queue.producer, queue.log_size);
        let address = queue.pages.addr(position(queue.producer, queue.log_size));
        self.memory.write_owned(address, &entry);
        queue.producer = queue.producer.wrapping_add(1);
        self.counters.completions += 1;
        if std::mem::take(&mut queue.armed) {
            self.completion_event(cqn);
        }
    }
}

#[cfg(test)]
mod tests;
