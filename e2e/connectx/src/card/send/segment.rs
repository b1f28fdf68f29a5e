//! TCP and UDP segmentation.

use crate::card::parse::{Headers, TCP, word};

const FIN: u8 = 0x01;
const PUSH: u8 = 0x08;
const CONGESTION_WINDOW_REDUCED: u8 = 0x80;

/// Cuts a frame into frames of at most `size` bytes of payload. The checksums of the result are stale.
///
/// Lengths, IPv4 identification, TCP sequence numbers and flags are those that the kernel's own segmentation
/// gives (`net/ipv4/tcp_offload.c`, Linux 6.12): FIN and PSH only in the last segment, CWR only in the first.
///
/// Returns `None` if the frame has no TCP or UDP header, or `size` is 0.
pub(crate) fn segment(frame: &[u8], headers: &Headers, size: usize) -> Option<Vec<Vec<u8>>> {
    let (network, transport) = headers.network.zip(headers.transport)?;
    if size == 0 {
        return None;
    }
    let (head, payload) = frame[..network.end].split_at(transport.payload);
    let count = payload.len().div_ceil(size).max(1);
    let segments = (0..count).map(|index| {
        let from = index * size;
        let mut segment = head.to_vec();
        segment.extend_from_slice(&payload[from..payload.len().min(from + size)]);
        let length = segment.len() - network.start;
        if network.version == 4 {
            let identification = word(frame, network.start + 4).wrapping_add(index as u16);
            put(&mut segment, network.start + 2, length as u16);
            put(&mut segment, network.start + 4, identification);
        } else {
            put(&mut segment, network.start + 4, (length - 40) as u16);
        }
        if transport.protocol == TCP {
            tcp(
                &mut segment[transport.start..],
                from as u32,
                index == 0,
                index + 1 == count,
            );
        } else {
            let length = segment.len() - transport.start;
            put(&mut segment, transport.start + 4, length as u16);
        }
        segment
    });
    Some(segments.collect())
}

/// Adapts the TCP header of the segment whose payload begins `offset` bytes into the whole.
fn tcp(header: &mut [u8], offset: u32, first: bool, last: bool) {
    let sequence = u32::from_be_bytes([header[4], header[5], header[6], header[7]]).wrapping_add(offset);
    header[4..8].copy_from_slice(&sequence.to_be_bytes());
    if !first {
        header[13] &= !CONGESTION_WINDOW_REDUCED;
    }
    if !last {
        header[13] &= !(FIN | PUSH);
    }
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests;
