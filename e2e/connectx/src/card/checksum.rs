//! Internet checksums: verified on receipt, filled in on transmission.

use crate::card::parse::{Headers, Network, TCP, Transport, UDP, word};

/// Flag of a send descriptor: fill in the IPv4 header checksum (`MLX5_ETH_WQE_L3_CSUM`).
pub(crate) const FILL_NETWORK: u8 = 1 << 6;
/// Flag of a send descriptor: fill in the TCP or UDP checksum (`MLX5_ETH_WQE_L4_CSUM`).
pub(crate) const FILL_TRANSPORT: u8 = 1 << 7;

/// Whether the checksums of a frame are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Absent without IPv4 or IPv6. IPv6 has no header checksum.
    pub(crate) network: Option<bool>,
    /// Absent without TCP or UDP, and in fragments.
    pub(crate) transport: Option<bool>,
}

/// Returns the ones' complement sum of big-endian 16-bit words, not inverted.
pub(crate) fn sum(initial: u32, bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u64::from(*b)));
    let mut sum = u64::from(initial) + words.sum::<u64>();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Verifies the checksums of a received frame.
pub(crate) fn verify(frame: &[u8], headers: &Headers) -> Verdict {
    let network = headers.network.map(|network| {
        network.version == 6 || sum(0, &frame[network.start..network_end(frame, network)]) == 0xffff
    });
    let transport = headers
        .network
        .zip(headers.transport)
        .map(|(network, transport)| {
            let absent =
                transport.protocol == UDP && network.version == 4 && word(frame, transport.start + 6) == 0;
            absent || transport_sum(frame, network) == 0xffff
        });
    Verdict { network, transport }
}

/// Fills in the checksums that `flags` ask for: [`FILL_NETWORK`], [`FILL_TRANSPORT`].
pub(crate) fn fill(frame: &mut [u8], headers: &Headers, flags: u8) {
    let Some(network) = headers.network else { return };
    if flags & FILL_NETWORK != 0 && network.version == 4 {
        let at = network.start + 10;
        frame[at..at + 2].fill(0);
        let checksum = !sum(0, &frame[network.start..network_end(frame, network)]);
        frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
    if let (true, Some(transport)) = (flags & FILL_TRANSPORT != 0, headers.transport) {
        fill_transport(frame, network, transport);
    }
}

fn fill_transport(frame: &mut [u8], network: Network, transport: Transport) {
    let at = transport.start + if transport.protocol == TCP { 16 } else { 6 };
    frame[at..at + 2].fill(0);
    let checksum = match !transport_sum(frame, network) {
        // In UDP, 0 means that there is no checksum.
        0 if transport.protocol == UDP => 0xffff,
        checksum => checksum,
    };
    frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// Returns the end of the IPv4 header, with options.
fn network_end(frame: &[u8], network: Network) -> usize {
    network.start + usize::from(frame[network.start] & 15) * 4
}

/// Returns the sum of the transport header, its payload and the pseudo header.
fn transport_sum(frame: &[u8], network: Network) -> u16 {
    let length = network.end - network.payload;
    let pseudo =
        [network.source(frame), network.destination(frame)].map(|address| u32::from(sum(0, address)));
    let initial = pseudo[0] + pseudo[1] + u32::from(network.protocol) + length as u32;
    sum(initial, &frame[network.payload..network.end])
}

#[cfg(test)]
mod tests;
