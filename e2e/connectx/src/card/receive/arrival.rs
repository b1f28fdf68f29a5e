//! The way of a frame from the wire to a receive queue.

use super::{ReceiveQueue, Rejection, completion::Received, frame_check};
use crate::card::{
    checksum,
    completion::Completion,
    device::Device,
    dma::Dma,
    parse::{ETHERNET, Headers, parse},
    rss::{self, Hash, Target},
    steering, vlan,
    work_queue::READY,
};

/// Length to which frames are padded, without FCS.
pub(crate) const SHORTEST: usize = 60;
/// Length of the frame check sequence.
const FCS: usize = 4;

/// What steering found for a frame.
pub(super) struct Arrival<'f> {
    pub(super) frame: &'f [u8],
    pub(super) headers: &'f Headers,
    pub(super) tag: u32,
    pub(super) hash: Hash,
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
        self.steer(&frame);
    }

    /// Sends a frame the way that the flow tables have for it.
    fn steer(&mut self, frame: &[u8]) {
        let headers = parse(frame);
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
            self.receive_by_tir(tir, tag, frame, &headers);
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
        let Some(queue) = queue else {
            return self.findings.queue(number, "a TIR without a receive queue");
        };
        self.receive_to_queue(
            queue,
            &Arrival {
                frame,
                headers,
                tag,
                hash,
            },
        );
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
        let completion = match queue.place(&mut dma, &data) {
            Ok(placement) => {
                let verdict = checksum::verify(arrival.frame, arrival.headers);
                self.counters.verify(verdict);
                let received = Received {
                    number,
                    arrival,
                    placement,
                    vlan,
                    verdict,
                    timestamp,
                };
                Some(received.completion(queue.cqn))
            }
            Err(Rejection::OutOfBuffer) => {
                self.out_of_buffer(number);
                None
            }
            Err(Rejection::Broken(syndrome, what)) => {
                self.findings.queue(number, what);
                Some(queue.fail(number, syndrome))
            }
        };
        self.complete(filler.into_iter().chain(completion));
    }

    /// Counts a frame for which a queue has no buffer.
    fn out_of_buffer(&mut self, number: u32) {
        self.counters.out_of_buffer += 1;
        let Some(queue) = self.rqs.get_mut(&number) else {
            return;
        };
        queue.out_of_buffer += 1;
        if let Some(counter) = self.queue_counters.get_mut(&queue.counter) {
            *counter += 1;
        }
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
