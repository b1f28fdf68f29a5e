//! Checks of answers to rejected packets.

use xdp_core::{
    reject::{Offender, turn},
    testing::FrameBuffer,
};

/// Checks the answer to `frame`, whose IP header is behind `tags` tags.
pub(crate) fn check(frame: &[u8], v6: bool, tags: usize, offender: &Offender) {
    let mut buffer = FrameBuffer::new(frame);
    assert!(turn(&mut buffer, offender).is_some());
    let answer = buffer.bytes;
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
    let length_field = u16::from_be_bytes(if v6 {
        [packet[4], packet[5]]
    } else {
        [packet[2], packet[3]]
    });
    assert_eq!(usize::from(length_field) + if v6 { 40 } else { 0 }, packet.len());
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
