//! What must be true of every answer.

use xdp_core::{
    parse::Bytes,
    reject::{Edit, Offender, turn},
};

struct Buffer(Vec<u8>);

impl Bytes for Buffer {
    fn length(&self) -> usize {
        self.0.len()
    }

    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.as_slice().read(offset)
    }
}

impl Edit for Buffer {
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        self.0.get_mut(offset..offset + N)?.copy_from_slice(&bytes);
        Some(())
    }

    fn grow(&mut self, bytes: usize) -> Option<()> {
        self.0.splice(..0, vec![0xee; bytes]);
        Some(())
    }

    fn truncate(&mut self, length: usize) -> Option<()> {
        self.0.truncate(length);
        Some(())
    }
}

/// Checks the answer to `frame`, whose IP header is behind `tags` tags.
pub(crate) fn check(frame: &[u8], v6: bool, tags: usize, offender: &Offender) {
    let mut buffer = Buffer(frame.to_vec());
    assert!(turn(&mut buffer, offender).is_some());
    let answer = buffer.0;
    let ip = 14 + 4 * tags;
    assert_eq!((&answer[..6], &answer[6..12]), (&frame[6..12], &frame[..6]));
    assert_eq!(answer[12..ip], frame[12..ip]);
    let (addresses, length, header) = if v6 { (8, 16, 40) } else { (12, 4, 20) };
    let pair = |bytes: &[u8], first: usize| bytes[ip + addresses + first * length..][..length].to_vec();
    assert_eq!(
        (pair(&answer, 0), pair(&answer, 1)),
        (pair(frame, 1), pair(frame, 0))
    );
    let packet = &answer[ip..];
    let told = u16::from_be_bytes(if v6 {
        [packet[4], packet[5]]
    } else {
        [packet[2], packet[3]]
    });
    assert_eq!(usize::from(told) + if v6 { 40 } else { 0 }, packet.len());
    let protocol = packet[if v6 { 6 } else { 9 }];
    let upper = &packet[header..];
    let pseudo = [
        &packet[addresses..addresses + 2 * length],
        &(upper.len() as u32).to_be_bytes(),
        &u32::from(protocol).to_be_bytes(),
    ]
    .concat();
    match protocol {
        1 => assert_eq!(sum(upper), 0xffff),
        6 | 58 => assert_eq!(sum(&[&pseudo, upper].concat()), 0xffff),
        other => panic!("protocol {other}"),
    }
    if !v6 {
        assert_eq!(sum(&packet[..20]), 0xffff);
    }
}

fn sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
