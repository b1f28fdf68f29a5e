//! What the card counts.

use crate::card::checksum::Verdict;

/// Counts since the card was inserted.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Commands.
    pub commands: u64,
    /// Frames from the wire.
    pub received: u64,
    /// Bytes of `received`.
    pub received_bytes: u64,
    /// Multicast frames of `received`.
    pub multicast: u64,
    /// Broadcast frames of `received`.
    pub broadcast: u64,
    /// Received frames whose IPv4 header checksum is wrong.
    pub bad_network_checksums: u64,
    /// Received frames whose TCP or UDP checksum is wrong.
    pub bad_transport_checksums: u64,
    /// Frames that no flow table sent to a queue.
    pub unmatched: u64,
    /// Frames that an entry of a flow table dropped.
    pub dropped_by_rule: u64,
    /// Frames for a queue that was not ready: reset, or in error.
    pub queue_not_ready: u64,
    /// Frames for which the queue had no buffer.
    pub out_of_buffer: u64,
    /// Frames longer than the port's MTU or the buffer.
    pub too_long: u64,
    /// Frames without a whole Ethernet header.
    pub too_short: u64,
    /// Frames that came while the link was down.
    pub link_down: u64,
    /// Frames to the wire.
    pub sent: u64,
    /// Bytes of `sent`.
    pub sent_bytes: u64,
    /// Multicast frames of `sent`.
    pub sent_multicast: u64,
    /// Broadcast frames of `sent`.
    pub sent_broadcast: u64,
    /// Frames that the driver sent while the link was down.
    pub sent_link_down: u64,
    /// Work requests that the card could not send.
    pub bad_requests: u64,
    /// UMR work requests.
    pub umr: u64,
    /// Work requests with segmentation.
    pub segmented: u64,
    /// Work requests with several packets.
    pub multi_packet: u64,
    /// Filler completions.
    pub fillers: u64,
    /// Completions.
    pub completions: u64,
    /// Events.
    pub events: u64,
    /// The receive queues that exist, by number.
    pub queues: Vec<QueueCounters>,
}

/// Counts of a receive queue.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub struct QueueCounters {
    /// The number of the queue.
    pub number: u32,
    /// Whether it is a striding queue.
    pub striding: bool,
    /// Frames written to memory.
    pub frames: u64,
    /// Frames for which there was no buffer.
    pub out_of_buffer: u64,
}

impl Counters {
    /// Counts a frame from the wire.
    pub(crate) fn receive(&mut self, frame: &[u8]) {
        self.received += 1;
        self.received_bytes += frame.len() as u64;
        count_group(frame, &mut self.multicast, &mut self.broadcast);
    }

    /// Counts a frame to the wire.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.sent += 1;
        self.sent_bytes += frame.len() as u64;
        count_group(frame, &mut self.sent_multicast, &mut self.sent_broadcast);
    }

    /// Counts wrong checksums.
    pub(crate) fn verify(&mut self, verdict: Verdict) {
        self.bad_network_checksums += u64::from(verdict.network == Some(false));
        self.bad_transport_checksums += u64::from(verdict.transport == Some(false));
    }
}

/// Counts a frame by its destination address, if that is not the address of one interface.
fn count_group(frame: &[u8], multicast: &mut u64, broadcast: &mut u64) {
    if frame.starts_with(&[0xff; 6]) {
        *broadcast += 1;
    } else if frame.first().is_some_and(|first| first & 1 == 1) {
        *multicast += 1;
    }
}
