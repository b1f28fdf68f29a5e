//! Answers to rejected packets: the packet itself is turned into its answer.
//!
//! TCP is answered by a reset (RFC 9293, 3.10.7.1), other protocols by ICMP "communication administratively
//! prohibited" (RFC 1812, 5.2.7.1; RFC 4443, 3.1) which quotes the packet up to the first eight bytes behind
//! its IP headers. RFC 1122, 3.2.2 and RFC 4443, 2.4 say which packets must not be answered. The source of
//! the answer is the packet's destination. The answer leaves by the NIC on which the packet arrived, with the
//! same VLAN tags.

mod checksum;
mod icmp;
mod ip;
mod rst;

use crate::{
    key::{PacketKey, column},
    parse::{Bytes, ETHERNET, TAG},
    tables::{Action, ActionRecord, Address},
};

/// A frame that can be changed. After a failure it can only be dropped.
pub trait Edit: Bytes {
    /// Overwrites bytes. `None` if the frame is too short.
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()>;

    /// Grows the frame at its front; the new bytes have any value. `None` if there is no headroom.
    fn grow(&mut self, bytes: usize) -> Option<()>;

    /// Truncates the frame; does nothing if it is not longer than `length`.
    fn truncate(&mut self, length: usize) -> Option<()>;
}

/// A rejected packet that gets an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offender {
    /// VLAN tags in front of the IP header.
    pub(crate) tags: u32,
    /// Offset of the transport header.
    pub(crate) upper: u32,
    /// Length of the IP packet.
    pub(crate) ip_len: u32,
    /// How it is answered.
    pub(crate) answer: RejectWith,
}

/// How a rejected packet is answered (nftables' `reject with`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RejectWith {
    /// TCP reset in IPv4.
    RstV4 = 0,
    /// TCP reset in IPv6.
    RstV6 = 1,
    /// ICMP type 3 code 13.
    Icmp = 2,
    /// `ICMPv6` type 1 code 1.
    IcmpV6 = 3,
}

impl Offender {
    /// Returns how the packet is answered.
    pub const fn answer(&self) -> RejectWith {
        self.answer
    }

    /// Encodes the packet as numbers.
    #[inline(always)]
    pub const fn numbers(&self) -> [u32; 4] {
        [self.tags, self.upper, self.ip_len, self.answer as u32]
    }

    /// Decodes what [`Offender::numbers`] encoded.
    #[inline(always)]
    pub const fn from_numbers([tags, upper, ip_len, answer]: [u32; 4]) -> Option<Self> {
        let answer = match answer {
            0 => RejectWith::RstV4,
            1 => RejectWith::RstV6,
            2 => RejectWith::Icmp,
            3 => RejectWith::IcmpV6,
            _ => return None,
        };
        Some(Self {
            tags,
            upper,
            ip_len,
            answer,
        })
    }

    #[inline(always)]
    const fn ip(&self) -> usize {
        // There are at most two tags: the mask proves that to the verifier.
        ETHERNET + TAG * (self.tags & 3) as usize
    }
}

/// Returns how a rejected packet is answered. `None` if it must not be answered, or is not rejected.
#[inline(always)]
pub(crate) fn answer<B: Bytes + ?Sized>(
    bytes: &B,
    key: &PacketKey,
    record: &ActionRecord,
) -> Option<RejectWith> {
    if record.action != Action::Reject as u8
        || key.group_mac() | key.fragment() != 0
        || !is_one_host(key.source())
        || !is_one_host(key.destination())
    {
        return None;
    }
    let is_v4 = key.is_v4();
    let kind = key.port() >> 8;
    match key.column() {
        column::ICMP if is_error_v4(kind) => None,
        // The lower half of the types are errors.
        column::ICMPV6 if kind < 128 => None,
        column::TCP if !rst::is_answered(bytes, key) => None,
        column::TCP if is_v4 => Some(RejectWith::RstV4),
        column::TCP => Some(RejectWith::RstV6),
        _ if is_v4 => Some(RejectWith::Icmp),
        _ => Some(RejectWith::IcmpV6),
    }
}

/// Whether the type is an error. Unknown types count as errors.
#[inline(always)]
const fn is_error_v4(kind: u32) -> bool {
    !matches!(kind, 0 | 8..=10 | 13..=18)
}

/// Whether this is the address of one reachable host: not multicast, broadcast, loopback or unspecified.
#[inline(always)]
const fn is_one_host(address: &Address) -> bool {
    if address.is_v4() {
        let v4 = address.low as u32;
        !matches!(v4 >> 24, 0 | 127 | 224..=239) && v4 != u32::MAX
    } else {
        address.high >> 56 != 0xff && (address.high != 0 || address.low > 1)
    }
}

/// Turns the packet into its answer. `None` if the frame could not be changed.
#[inline(always)]
pub fn turn(frame: &mut impl Edit, offender: &Offender) -> Option<()> {
    match offender.answer {
        RejectWith::RstV4 => rst::v4(frame, offender),
        RejectWith::RstV6 => rst::v6(frame, offender),
        RejectWith::Icmp | RejectWith::IcmpV6 => icmp::answer(frame, offender),
    }
}

/// Writes the link-layer header of the answer. The packet's own begins at `from`.
#[inline(always)]
fn turn_link(frame: &mut impl Edit, offender: &Offender, from: usize) -> Option<()> {
    const MAC: usize = 6;
    let destination: [u8; MAC] = frame.read(from)?;
    let source: [u8; MAC] = frame.read(from + MAC)?;
    frame.write(0, source)?;
    frame.write(MAC, destination)?;
    if from == 0 {
        return Some(());
    }
    // The protocol, then tag by tag: the rest of the tag and the protocol behind it. Decided by the number of
    // tags, not by an offset: bounds of a multiple of four make the verifier of Linux 6.18 warn ("REG
    // INVARIANTS VIOLATION", reg_bounds_sanity_check in kernel/bpf/verifier.c).
    let tags = offender.tags & 3;
    frame.write(12, frame.read::<2>(from + 12)?)?;
    if tags > 0 {
        frame.write(14, frame.read::<TAG>(from + 14)?)?;
    }
    if tags > 1 {
        frame.write(18, frame.read::<TAG>(from + 18)?)?;
    }
    Some(())
}
