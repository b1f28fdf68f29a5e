//! Completions of received frames.

use super::{Placement, arrival::Arrival};
use crate::card::{
    checksum::{self, Verdict},
    completion::{Completion, LENGTH, RECEIVED, put},
    parse::{ETHERNET, Headers, TCP},
};

/// Bits of `hds_ip_ext`: the headers of a layer are right.
const LINK_OK: u8 = 1;
const NETWORK_OK: u8 = 1 << 1;
const TRANSPORT_OK: u8 = 1 << 2;

/// Values of the transport type in `l4_l3_hdr_type`.
const TCP_NO_ACK: u8 = 1;
const UDP: u8 = 2;
const TCP_ACK_NO_DATA: u8 = 3;
const TCP_ACK_AND_DATA: u8 = 4;
/// Bit of `l4_l3_hdr_type`: the tag was stripped.
const STRIPPED: u8 = 1;

const TCP_ACK: u8 = 0x10;

/// A frame in guest memory.
pub(super) struct Received<'a> {
    /// Number of the receive queue.
    pub(super) number: u32,
    pub(super) arrival: &'a Arrival<'a>,
    pub(super) placement: Placement,
    /// The tag that was stripped.
    pub(super) vlan: Option<u16>,
    pub(super) verdict: Verdict,
    /// In cycles of the card's clock.
    pub(super) timestamp: u64,
}

impl Received<'_> {
    /// Returns the completion for the queue `cqn`.
    pub(super) fn completion(&self, cqn: u32) -> Completion {
        let mut entry = [0; LENGTH];
        let Arrival {
            frame,
            headers,
            tag,
            hash,
        } = self.arrival;
        put(&mut entry, 2, &self.placement.descriptor.to_be_bytes());
        put(&mut entry, 12, &hash.value.to_be_bytes());
        put(&mut entry, 16, &[hash.kind]);
        put(&mut entry, 20, &sum(frame, headers).to_be_bytes());
        put(&mut entry, 24, &self.number.to_be_bytes());
        put(&mut entry, 28, &[flags(self.verdict)]);
        let stripped = if self.vlan.is_some() { STRIPPED } else { 0 };
        put(
            &mut entry,
            29,
            &[transport(frame, headers) << 4 | network(headers) << 2 | stripped],
        );
        put(&mut entry, 30, &self.vlan.unwrap_or(0).to_be_bytes());
        put(&mut entry, 44, &self.placement.byte_count.to_be_bytes());
        put(&mut entry, 48, &self.timestamp.to_be_bytes());
        put(&mut entry, 56, &tag.to_be_bytes());
        put(&mut entry, 60, &self.placement.counter.to_be_bytes());
        Completion {
            queue: cqn,
            opcode: RECEIVED,
            entry,
        }
    }
}

/// Returns the sum over the IP packet, without tags in front and padding behind.
///
/// The driver adds what the sum does not cover (`mlx5e_skb_csum_fixup`,
/// `drivers/net/ethernet/mellanox/mlx5/core/en_rx.c`, Linux 6.12).
fn sum(frame: &[u8], headers: &Headers) -> u16 {
    let packet = headers
        .network
        .map_or(ETHERNET..frame.len(), |network| network.start..network.end);
    checksum::sum(0, &frame[packet])
}

fn flags(verdict: Verdict) -> u8 {
    let flag = |verdict: Option<bool>, flag| if verdict == Some(true) { flag } else { 0 };
    LINK_OK | flag(verdict.network, NETWORK_OK) | flag(verdict.transport, TRANSPORT_OK)
}

fn network(headers: &Headers) -> u8 {
    headers
        .network
        .map_or(0, |network| if network.version == 4 { 2 } else { 1 })
}

fn transport(frame: &[u8], headers: &Headers) -> u8 {
    let Some((network, transport)) = headers.network.zip(headers.transport) else {
        return 0;
    };
    if transport.protocol != TCP {
        UDP
    } else if frame[transport.start + 13] & TCP_ACK == 0 {
        TCP_NO_ACK
    } else if transport.payload == network.end {
        TCP_ACK_NO_DATA
    } else {
        TCP_ACK_AND_DATA
    }
}
