//! What the card counts.

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
    /// Frames that no flow table sent to a queue.
    pub unmatched: u64,
    /// Frames for which the queue had no buffer.
    pub out_of_buffer: u64,
    /// Frames longer than the port's MTU or the buffer.
    pub too_long: u64,
    /// Frames that came while the link was down.
    pub link_down: u64,
    /// Frames to the wire.
    pub sent: u64,
    /// Bytes of `sent`.
    pub sent_bytes: u64,
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
}
