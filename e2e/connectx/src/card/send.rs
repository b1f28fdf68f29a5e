//! Send queues, and the way of a frame from one to the wire.

mod descriptor;
mod inline;
mod multi_packet;
mod segment;
mod umr;

use descriptor::{Descriptor, Opcode};
use inline::EthernetSegment;

use crate::card::{
    checksum,
    completion::{Completion, Syndrome},
    device::Device,
    dma::Dma,
    layout::sqc,
    parse::{ETHERNET, parse},
    profile::Inline,
    receive::SHORTEST,
    vlan,
    work_queue::{ERROR, READY, RESET, WorkQueue},
};

/// Log of the size of a block of the ring, in bytes.
const LOG_BLOCK: u32 = 6;

/// A send queue.
pub(crate) struct SendQueue {
    pub(crate) state: u64,
    /// Number of the completion queue.
    pub(crate) cqn: u32,
    /// Whether work requests may change memory keys.
    umr: bool,
    work: WorkQueue,
    /// Blocks of 64 bytes used since the reset.
    consumed: u16,
}

/// Why a work request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failure {
    syndrome: Syndrome,
    what: &'static str,
}

impl Failure {
    /// The descriptor is not as the card needs it.
    fn operation(what: &'static str) -> Self {
        Self {
            syndrome: Syndrome::LocalOperation,
            what,
        }
    }

    /// The descriptor refers to memory that it cannot have.
    fn protection(what: &'static str) -> Self {
        Self {
            syndrome: Syndrome::LocalProtection,
            what,
        }
    }
}

impl SendQueue {
    /// Parses a send queue context (`mlx5_ifc_sqc_bits`).
    ///
    /// Returns an error for a work queue that the card refuses.
    pub(crate) fn parse(context: &[u8]) -> Result<Self, &'static str> {
        let work = WorkQueue::parse(context.get(sqc::WQ.byte()..).unwrap_or_default())?;
        if work.strides.is_some() || work.log_stride != LOG_BLOCK {
            return Err("a send queue that is not a ring of 64-byte blocks");
        }
        Ok(Self {
            state: sqc::STATE.get(context),
            cqn: sqc::CQN.get(context) as u32,
            umr: sqc::REG_UMR.get(context) == 1,
            work,
            consumed: 0,
        })
    }

    /// Changes the state.
    pub(crate) fn set_state(&mut self, state: u64) {
        if state == RESET {
            self.consumed = 0;
        }
        self.state = state;
    }
}

impl Device {
    /// Executes the work requests that the driver posted to a send queue.
    pub(crate) fn run_send_queue(&mut self, number: u32) {
        while let Some(queue) = self.sqs.get_mut(&number) {
            if queue.state != READY && queue.state != ERROR {
                return;
            }
            let (cqn, failed) = (queue.cqn, queue.state == ERROR);
            let fetched = match queue.fetch(&mut self.memory, number) {
                Ok(None) => return,
                Ok(Some(descriptor)) => Ok(descriptor),
                Err((index, failure)) => Err((index, 0, failure)),
            };
            let done = fetched.and_then(|descriptor| {
                let (index, opcode) = (descriptor.index, descriptor.opcode);
                if failed {
                    return Ok(Some(Completion::send_error(
                        cqn,
                        number,
                        opcode,
                        index,
                        Syndrome::Flushed,
                    )));
                }
                self.execute(number, &descriptor)
                    .map_err(|failure| (index, opcode, failure))?;
                let timestamp = self.now();
                Ok(descriptor
                    .signalled
                    .then(|| Completion::sent(cqn, number, opcode, index, timestamp)))
            });
            match done {
                Ok(completion) => self.complete(completion),
                Err((index, opcode, failure)) => self.fail_send_queue(number, opcode, index, failure),
            }
        }
    }

    fn fail_send_queue(&mut self, number: u32, opcode: u8, index: u16, failure: Failure) {
        self.counters.bad_requests += 1;
        self.findings.queue(number, failure.what);
        if let Some(queue) = self.sqs.get_mut(&number) {
            queue.state = ERROR;
            let cqn = queue.cqn;
            self.complete([Completion::send_error(
                cqn,
                number,
                opcode,
                index,
                failure.syndrome,
            )]);
        }
    }

    fn execute(&mut self, number: u32, descriptor: &Descriptor) -> Result<(), Failure> {
        let umr = self.sqs.get(&number).is_some_and(|queue| queue.umr);
        let multi_packet = self.profile.multi_packet_send;
        match Opcode::parse(descriptor.opcode) {
            Some(Opcode::Nop) => Ok(()),
            Some(Opcode::Send) => self.send(descriptor, false),
            Some(Opcode::LargeSend) => self.send(descriptor, true),
            Some(Opcode::MultiPacketSend) if multi_packet => self.send_packets(descriptor),
            Some(Opcode::Umr) if umr => self.update_memory_key(descriptor),
            Some(Opcode::MultiPacketSend) => Err(Failure::operation(
                "a multi-packet work request, which the card does not have",
            )),
            Some(Opcode::Umr) => Err(Failure::operation("a UMR in a queue that does not allow it")),
            None => Err(Failure::operation("a work request with an unknown opcode")),
        }
    }

    /// Sends the one packet of a work request, segmented if it is large.
    fn send(&mut self, descriptor: &Descriptor, large: bool) -> Result<(), Failure> {
        let ethernet = EthernetSegment::parse(descriptor)?;
        if self.profile.inline == Inline::Ethernet && ethernet.inline.len() < ETHERNET {
            return Err(Failure::operation(
                "a work request without the inline header that the card needs",
            ));
        }
        let mut frame = ethernet.inline.clone();
        for segment in inline::segments(&descriptor.bytes[ethernet.end..]) {
            frame.extend(self.gather(segment?)?);
        }
        if let Some((ethertype, control)) = ethernet.insert {
            frame = vlan::insert(&frame, ethertype, control);
        }
        if !large {
            return self.transmit(frame, ethernet.checksums);
        }
        self.counters.segmented += 1;
        let segments = segment::segment(&frame, &parse(&frame), ethernet.segment_size.into()).ok_or(
            Failure::operation("segmentation of what is neither TCP nor UDP, or without a size"),
        )?;
        segments
            .into_iter()
            .try_for_each(|frame| self.transmit(frame, ethernet.checksums))
    }

    /// Returns the bytes of a segment.
    fn gather(&mut self, segment: inline::Segment<'_>) -> Result<Vec<u8>, Failure> {
        match segment {
            inline::Segment::Inline(bytes) => Ok(bytes.to_vec()),
            inline::Segment::Memory(data) => Dma {
                memory: &mut self.memory,
                keys: &self.mkeys,
            }
            .read(data.key, data.address, data.length)
            .map_err(Failure::protection),
        }
    }

    /// Sends a frame to the wire, with the checksums that `flags` ask for.
    fn transmit(&mut self, mut frame: Vec<u8>, flags: u8) -> Result<(), Failure> {
        if frame.len() < ETHERNET {
            return Err(Failure::operation("a packet shorter than an Ethernet header"));
        }
        if flags != 0 {
            let headers = parse(&frame);
            checksum::fill(&mut frame, &headers, flags);
        }
        frame.resize(frame.len().max(SHORTEST), 0);
        if self.link_up() {
            self.counters.send(&frame);
            self.sent.push(frame);
        } else {
            self.counters.sent_link_down += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
