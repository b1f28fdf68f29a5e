//! TCP resets.

use super::{Edit, Offender, checksum::Sum, ip, turn_link};
use crate::{
    key::PacketKey,
    parse::{Bytes, ETHERNET, TAG, protocol},
};

const HEADER: usize = 20;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Returns the length of the TCP header in bytes, and the flags.
#[inline(always)]
fn header<B: Bytes + ?Sized>(bytes: &B, upper: usize) -> Option<(usize, u8)> {
    let [words, flags] = bytes.read(upper + 12)?;
    Some((usize::from(words >> 4) * 4, flags))
}

/// Whether the packet has a whole TCP header, and is not a reset itself.
#[inline(always)]
pub(super) fn is_answered<B: Bytes + ?Sized>(bytes: &B, key: &PacketKey) -> bool {
    let upper = key.upper() as usize;
    let end = ETHERNET + TAG * key.tags() as usize + key.ip_len() as usize;
    header(bytes, upper)
        .is_some_and(|(header, flags)| header >= HEADER && upper + header <= end && flags & RST == 0)
}

#[inline(always)]
pub(super) fn v4(frame: &mut impl Edit, offender: &Offender) -> Option<()> {
    let at = offender.ip();
    let addresses = ip::addresses_v4(frame, at)?;
    let segment = segment(frame, offender)?;
    let sum = Sum::new().bytes(&addresses[0]).bytes(&addresses[1]);
    ip::write_v4(frame, at, protocol::TCP, HEADER, addresses)?;
    write(frame, offender, at + ip::V4, &segment, sum)
}

#[inline(always)]
pub(super) fn v6(frame: &mut impl Edit, offender: &Offender) -> Option<()> {
    let at = offender.ip();
    let addresses = ip::addresses_v6(frame, at)?;
    let segment = segment(frame, offender)?;
    let sum = Sum::new().bytes(&addresses[0]).bytes(&addresses[1]);
    ip::write_v6(frame, at, protocol::TCP, HEADER, addresses)?;
    write(frame, offender, at + ip::V6, &segment, sum)
}

/// Returns the first sixteen bytes of the answer's TCP header.
#[inline(always)]
fn segment(frame: &impl Edit, offender: &Offender) -> Option<[u8; 16]> {
    let upper = offender.upper as usize;
    let [s0, s1, d0, d1]: [u8; 4] = frame.read(upper)?;
    let sequence = u32::from_be_bytes(frame.read(upper + 4)?);
    let acknowledged: [u8; 4] = frame.read(upper + 8)?;
    let (header, flags) = header(frame, upper)?;
    let end = offender.ip() + offender.ip_len as usize;
    let data = end.wrapping_sub(upper + header) as u32;
    let phantoms = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    let ([q0, q1, q2, q3], [a0, a1, a2, a3], flags) = if flags & ACK == 0 {
        let after = sequence.wrapping_add(data).wrapping_add(phantoms);
        ([0; 4], after.to_be_bytes(), RST | ACK)
    } else {
        (acknowledged, [0; 4], RST)
    };
    Some([
        d0,
        d1,
        s0,
        s1,
        q0,
        q1,
        q2,
        q3,
        a0,
        a1,
        a2,
        a3,
        ((HEADER / 4) << 4) as u8,
        flags,
        0,
        0,
    ])
}

/// Writes the TCP header and all that is below it. `sum` is the checksum of the addresses.
#[inline(always)]
fn write(frame: &mut impl Edit, offender: &Offender, at: usize, segment: &[u8; 16], sum: Sum) -> Option<()> {
    let sum = sum
        .word(u16::from(protocol::TCP))
        .word(HEADER as u16)
        .bytes(segment);
    let [c0, c1] = sum.finish();
    frame.write(at, *segment)?;
    frame.write(at + 16, [c0, c1, 0, 0])?;
    turn_link(frame, offender, 0)?;
    frame.truncate(at + HEADER)
}
