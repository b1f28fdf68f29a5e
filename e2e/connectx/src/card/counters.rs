//! What the card counts.

use crate::card::checksum::Verdict;

/// Counts since the card was inserted.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub struct CardCounters {
    /// Commands.
    pub commands: u64,
    /// Frames from the wire.
    pub received: u64,
    /// Bytes of `received`.
    pub received_bytes: u64,
    /// Multicast frames of `received`.
    pub multicast: u64,
    /// Bytes of `multicast`.
    pub multicast_bytes: u64,
    /// Broadcast frames of `received`.
    pub broadcast: u64,
    /// Bytes of `broadcast`.
    pub broadcast_bytes: u64,
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
    /// Bytes of `sent_multicast`.
    pub sent_multicast_bytes: u64,
    /// Broadcast frames of `sent`.
    pub sent_broadcast: u64,
    /// Bytes of `sent_broadcast`.
    pub sent_broadcast_bytes: u64,
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

impl CardCounters {
    /// Returns the frames from the wire for one interface.
    pub fn unicast(&self) -> u64 {
        self.received - self.multicast - self.broadcast
    }

    /// Returns the frames to the wire for one interface.
    pub fn sent_unicast(&self) -> u64 {
        self.sent - self.sent_multicast - self.sent_broadcast
    }

    /// Counts a frame from the wire.
    pub(crate) fn receive(&mut self, frame: &[u8]) {
        self.received += 1;
        self.received_bytes += frame.len() as u64;
        match Group::of(frame) {
            Group::Unicast => {}
            Group::Multicast => count(frame, &mut self.multicast, &mut self.multicast_bytes),
            Group::Broadcast => count(frame, &mut self.broadcast, &mut self.broadcast_bytes),
        }
    }

    /// Counts a frame to the wire.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.sent += 1;
        self.sent_bytes += frame.len() as u64;
        match Group::of(frame) {
            Group::Unicast => {}
            Group::Multicast => count(frame, &mut self.sent_multicast, &mut self.sent_multicast_bytes),
            Group::Broadcast => count(frame, &mut self.sent_broadcast, &mut self.sent_broadcast_bytes),
        }
    }

    /// Counts wrong checksums.
    pub(crate) fn verify(&mut self, verdict: Verdict) {
        self.bad_network_checksums += u64::from(verdict.network == Some(false));
        self.bad_transport_checksums += u64::from(verdict.transport == Some(false));
    }
}

/// The kind of a destination address.
enum Group {
    Unicast,
    Multicast,
    Broadcast,
}

impl Group {
    fn of(frame: &[u8]) -> Self {
        if frame.starts_with(&[0xff; 6]) {
            Self::Broadcast
        } else if frame.first().is_some_and(|first| first & 1 == 1) {
            Self::Multicast
        } else {
            Self::Unicast
        }
    }
}

fn count(frame: &[u8], frames: &mut u64, bytes: &mut u64) {
    *frames += 1;
    *bytes += frame.len() as u64;
}
