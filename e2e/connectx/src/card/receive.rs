//! Receive queues, and the way of a frame from the wire to one.

mod completion;
mod cyclic;
mod frame_check;
mod striding;

use crate::card::{
    checksum,
    completion::{Completion, Syndrome},
    device::Device,
    dma::Dma,
    layout::rqc,
    parse::{ETHERNET, Headers, parse},
    rss::{self, Hash, Target},
    steering, vlan,
    work_queue::{ERROR, READY, RESET, WorkQueue},
};

/// Length to which frames are padded, without FCS.
pub(crate) const SHORTEST: usize = 60;
/// Length of the frame check sequence.
const FCS: usize = 4;

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

/// What steering found for a frame.
struct Arrival<'f> {
    frame: &'f [u8],
    headers: &'f Headers,
    tag: u32,
    hash: Hash,
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

impl Device {
    /// Takes a frame without FCS from the wire.
    pub(crate) fn receive(&mut self, frame: &[u8]) {
        if !self.link_up() {
            self.counters.link_down += 1;
            return;
        }
        if frame.len() < ETHERNET {
            self.counters.too_short += 1;
            return;
        }
        let mut frame = frame.to_vec();
        frame.resize(frame.len().max(SHORTEST), 0);
        if frame.len() + FCS > usize::from(self.mtu) {
            self.counters.too_long += 1;
            return;
        }
        self.counters.receive(&frame);
        if !self.can_access_memory() {
            self.counters.queue_not_ready += 1;
            return;
        }
        let headers = parse(&frame);
        let root = self.root_tables.get(&steering::RECEIVE).copied();
        let walk = steering::walk(&self.flow_tables, root, &headers.fields);
        for counter in walk.counters {
            if let Some(counter) = self.flow_counters.get_mut(&counter) {
                counter.frames += 1;
                counter.bytes += frame.len() as u64;
            }
        }
        match (walk.dropped, walk.destinations.is_empty()) {
            (true, _) => self.counters.dropped_by_rule += 1,
            (false, true) => self.counters.unmatched += 1,
            (false, false) => {}
        }
        for (tir, tag) in walk.destinations {
            self.receive_by_tir(tir, tag, &frame, &headers);
        }
    }

    fn receive_by_tir(&mut self, number: u32, tag: u32, frame: &[u8], headers: &Headers) {
        let Some(tir) = self.tirs.get(&number) else {
            return self.findings.queue(number, "a flow entry with an unknown TIR");
        };
        let hash = tir.hash(frame, headers);
        let queue = match tir.target {
            Target::Queue(queue) => Some(queue),
            Target::Table(table) => self.rqts.get(&table).and_then(|table| rss::queue(table, hash)),
        };
        match queue {
            Some(queue) => self.receive_to_queue(
                queue,
                &Arrival {
                    frame,
                    headers,
                    tag,
                    hash,
                },
            ),
            None => self.findings.queue(number, "a TIR without a receive queue"),
        }
    }

    fn receive_to_queue(&mut self, number: u32, arrival: &Arrival<'_>) {
        let timestamp = self.now();
        let Some(queue) = self.rqs.get_mut(&number) else {
            return self.findings.queue(number, "an unknown receive queue");
        };
        if queue.state != READY {
            self.counters.queue_not_ready += 1;
            return;
        }
        let (data, vlan) = queue.prepare(arrival);
        let mut dma = Dma {
            memory: &mut self.memory,
            keys: &self.mkeys,
        };
        let filler = queue.filler(&mut dma, number, data.len());
        self.counters.fillers += u64::from(filler.is_some());
        let result = queue.place(&mut dma, &data);
        let completion = match result {
            Ok(placement) => {
                let verdict = checksum::verify(arrival.frame, arrival.headers);
                self.counters.verify(verdict);
                completion::Received {
                    number,
                    arrival,
                    placement,
                    vlan,
                    verdict,
                    timestamp,
                }
                .completion(queue.cqn)
            }
            Err(Rejection::OutOfBuffer) => {
                queue.out_of_buffer += 1;
                self.counters.out_of_buffer += 1;
                if let Some(counter) = self.queue_counters.get_mut(&queue.counter) {
                    *counter += 1;
                }
                return self.complete(filler);
            }
            Err(Rejection::Broken(syndrome, what)) => {
                self.findings.queue(number, what);
                queue.fail(number, syndrome)
            }
        };
        self.complete(filler.into_iter().chain([completion]));
    }

    /// Writes completions to their queues.
    pub(crate) fn complete(&mut self, completions: impl IntoIterator<Item = Completion>) {
        for completion in completions {
            self.push_cqe(completion.queue, completion.entry, completion.opcode);
        }
    }
}

impl ReceiveQueue {
    /// Returns what the queue writes to memory for a frame, and the tag that it stripped.
    fn prepare(&self, arrival: &Arrival<'_>) -> (Vec<u8>, Option<u16>) {
        let mut data = arrival.frame.to_vec();
        let stripped = arrival.headers.vlan.filter(|_| !self.keeps_vlan);
        if stripped.is_some() {
            vlan::strip(&mut data);
        }
        if self.scatter_fcs {
            data.extend(frame_check::sequence(arrival.frame));
        }
        (data, stripped)
    }
}

#[cfg(test)]
mod tests;
