//! Numbered datagrams, counted by their receiver: loss, duplicates, reordering and marks are visible.

mod receiver;
mod sender;
mod stream;

pub use receiver::{Datagrams, UdpReceiver};
pub use sender::UdpSender;
pub use stream::UdpStream;

/// The first bytes of every numbered datagram.
const MAGIC: [u8; 4] = *b"xlab";

/// Magic, stream and number.
const HEADER: usize = 16;

fn encode(stream: u32, number: u64, datagram: &mut [u8]) {
    datagram[..4].copy_from_slice(&MAGIC);
    datagram[4..8].copy_from_slice(&stream.to_be_bytes());
    datagram[8..HEADER].copy_from_slice(&number.to_be_bytes());
}

fn decode(datagram: &[u8]) -> Option<(u32, u64)> {
    let (magic, rest) = datagram.split_first_chunk::<4>()?;
    let (stream, rest) = rest.split_first_chunk::<4>()?;
    let (number, _) = rest.split_first_chunk::<8>()?;
    (*magic == MAGIC).then(|| (u32::from_be_bytes(*stream), u64::from_be_bytes(*number)))
}
