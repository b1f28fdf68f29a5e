//! ICMP errors.

use super::{Edit, Offender, RejectWith, checksum::Sum, ip, turn_link};
use crate::parse::protocol;

const HEADER: usize = 8;
/// Bytes quoted of what follows the IP headers.
const UPPER: usize = 8;
/// The most bytes quoted. IPv4 headers are shorter; IPv6 extension headers may be longer.
const QUOTE: usize = 128;

const UNREACHABLE: [u8; 2] = [3, 13];
const UNREACHABLE_V6: [u8; 2] = [1, 1];

/// Turns the packet into an ICMP or `ICMPv6` error.
#[inline(always)]
pub(super) fn answer(frame: &mut impl Edit, offender: &Offender) -> Option<()> {
    let quote = frame.opaque(quote(offender) as u32) as usize;
    let sum = quoted(frame, offender.ip(), quote)?;
    if offender.answer == RejectWith::Icmp {
        v4(frame, offender, quote, sum)
    } else {
        v6(frame, offender, quote, sum)
    }
}

#[inline(always)]
fn v4(frame: &mut impl Edit, offender: &Offender, quote: usize, sum: Sum) -> Option<()> {
    const IN_FRONT: usize = ip::V4 + HEADER;
    let at = offender.ip();
    let addresses = ip::addresses_v4(frame, at)?;
    frame.grow(IN_FRONT)?;
    turn_link(frame, offender, IN_FRONT)?;
    ip::write_v4(frame, at, protocol::ICMP, HEADER + quote, addresses)?;
    write(frame, at + ip::V4, UNREACHABLE, sum)?;
    frame.truncate(at + IN_FRONT + quote)
}

#[inline(always)]
fn v6(frame: &mut impl Edit, offender: &Offender, quote: usize, sum: Sum) -> Option<()> {
    const IN_FRONT: usize = ip::V6 + HEADER;
    let at = offender.ip();
    let addresses = ip::addresses_v6(frame, at)?;
    let sum = sum
        .bytes(&addresses[0])
        .bytes(&addresses[1])
        .word(u16::from(protocol::ICMPV6))
        .word((HEADER + quote) as u16);
    frame.grow(IN_FRONT)?;
    turn_link(frame, offender, IN_FRONT)?;
    ip::write_v6(frame, at, protocol::ICMPV6, HEADER + quote, addresses)?;
    write(frame, at + ip::V6, UNREACHABLE_V6, sum)?;
    frame.truncate(at + IN_FRONT + quote)
}

/// Returns the number of bytes quoted.
#[inline(always)]
fn quote(offender: &Offender) -> usize {
    let headers = (offender.upper as usize).wrapping_sub(offender.ip());
    (headers.wrapping_add(UPPER))
        .min(offender.ip_len as usize)
        .min(QUOTE)
}

/// Returns the checksum of the first `length` bytes of the packet.
#[inline(always)]
fn quoted(frame: &impl Edit, start: usize, length: usize) -> Option<Sum> {
    let mut sum = Sum::new();
    for word in 0..QUOTE / 8 {
        if word >= length / 8 {
            break;
        }
        sum = sum.bytes(&frame.read::<8>(start + 8 * word)?);
    }
    let mut at = start + (length & !7);
    if length & 4 != 0 {
        sum = sum.bytes(&frame.read::<4>(at)?);
        at += 4;
    }
    if length & 2 != 0 {
        sum = sum.bytes(&frame.read::<2>(at)?);
        at += 2;
    }
    if length & 1 != 0 {
        sum = sum.bytes(&frame.read::<1>(at)?);
    }
    Some(sum)
}

#[inline(always)]
fn write(frame: &mut impl Edit, at: usize, [kind, code]: [u8; 2], sum: Sum) -> Option<()> {
    let [c0, c1] = sum.bytes(&[kind, code]).finish();
    frame.write(at, [kind, code, c0, c1, 0, 0, 0, 0])
}
