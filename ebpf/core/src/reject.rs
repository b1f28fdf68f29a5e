//! Answers to rejected packets, made of the packets themselves.
//!
//! TCP is answered by a reset (RFC 9293, 3.10.7.1), all else by ICMP "communication administratively prohibited"
//! (RFC 1812, 5.2.7.1; RFC 4443, 3.1) with the packet quoted as far as the first eight bytes behind its IP headers.
//! Nothing is answered that RFC 1122, 3.2.2 and RFC 4443, 2.4 forbid to answer. The answer comes from the address that
//! was asked, goes out where the packet came in, and keeps its VLAN tags.

mod checksum;
mod icmp;
mod ip;
mod rst;

use crate::{
    parse::{Bytes, ETHERNET, TAG},
    tables::{Action, ActionRecord, Address},
    verdict::{Key, column},
};

/// A frame that can be changed. After a failure it is of no use but to be dropped.
pub trait Edit: Bytes {
    /// Overwrites bytes; `None` if not all of them are there.
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()>;

    /// Puts bytes of any value in front; `None` if there is no room.
    fn grow(&mut self, bytes: usize) -> Option<()>;

    /// Cuts the end off, or does nothing if the frame is not longer.
    fn truncate(&mut self, length: usize) -> Option<()>;
}

/// A packet that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offender {
    /// VLAN tags in front of the IP header.
    pub(crate) tags: u32,
    /// Offset of the transport header.
    pub(crate) upper: u32,
    /// Length of the IP packet.
    pub(crate) ip_len: u32,
    /// By what.
    pub(crate) answer: Answer,
}

/// How a packet is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Answer {
    /// A reset, in IPv4.
    RstV4 = 0,
    /// A reset, in IPv6.
    RstV6 = 1,
    /// ICMP type 3 code 13.
    Icmp = 2,
    /// `ICMPv6` type 1 code 1.
    IcmpV6 = 3,
}

impl Offender {
    /// How it is answered.
    pub const fn answer(&self) -> Answer {
        self.answer
    }

    /// The same as numbers.
    #[inline(always)]
    pub const fn numbers(&self) -> [u32; 4] {
        [self.tags, self.upper, self.ip_len, self.answer as u32]
    }

    /// What [`Offender::numbers`] made.
    #[inline(always)]
    pub const fn from_numbers([tags, upper, ip_len, answer]: [u32; 4]) -> Option<Self> {
        let answer = match answer {
            0 => Answer::RstV4,
            1 => Answer::RstV6,
            2 => Answer::Icmp,
            3 => Answer::IcmpV6,
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
        // There are two tags at most: the mask tells the verifier.
        ETHERNET + TAG * (self.tags & 3) as usize
    }
}

/// How a packet is answered that is rejected; `None` if nothing may be answered, or it is not rejected.
#[inline(always)]
pub(crate) fn answer<B: Bytes + ?Sized>(bytes: &B, key: &Key, record: &ActionRecord) -> Option<Answer> {
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
        // The first half of all types is for errors.
        column::ICMPV6 if kind < 128 => None,
        column::TCP if !rst::is_due(bytes, key) => None,
        column::TCP if is_v4 => Some(Answer::RstV4),
        column::TCP => Some(Answer::RstV6),
        _ if is_v4 => Some(Answer::Icmp),
        _ => Some(Answer::IcmpV6),
    }
}

/// Everything but the types that ask or inform: what is not known may be an error.
#[inline(always)]
const fn is_error_v4(kind: u32) -> bool {
    !matches!(kind, 0 | 8..=10 | 13..=18)
}

/// Neither a group, nor an address that stands for no host that could be reached.
#[inline(always)]
const fn is_one_host(address: &Address) -> bool {
    if address.is_v4() {
        let v4 = address.low as u32;
        !matches!(v4 >> 24, 0 | 127 | 224..=239) && v4 != u32::MAX
    } else {
        address.high >> 56 != 0xff && (address.high != 0 || address.low > 1)
    }
}

/// Makes the answer of the packet; `None` if the frame could not be changed.
#[inline(always)]
pub fn turn(frame: &mut impl Edit, offender: &Offender) -> Option<()> {
    match offender.answer {
        Answer::RstV4 => rst::v4(frame, offender),
        Answer::RstV6 => rst::v6(frame, offender),
        Answer::Icmp | Answer::IcmpV6 => icmp::answer(frame, offender),
    }
}

/// Writes the link-layer header of the answer, made of the packet's, which begins at `from`.
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
    // Tags and the protocol behind them.
    for at in [12, 14, 16, 18, 20] {
        if at < offender.ip() {
            frame.write(at, frame.read::<2>(from + at)?)?;
        }
    }
    Some(())
}
