//! IP headers of answers.

use super::{Edit, checksum::Sum};

pub(super) const V4: usize = 20;
pub(super) const V6: usize = 40;
const HOPS: u8 = 64;
const DONT_FRAGMENT: u8 = 0x40;

/// Reads the packet's source and destination. Their checksum does not depend on the order.
#[inline(always)]
pub(super) fn addresses_v4(frame: &impl Edit, ip: usize) -> Option<[[u8; 4]; 2]> {
    Some([frame.read(ip + 12)?, frame.read(ip + 16)?])
}

/// Reads the packet's source and destination, for IPv6.
#[inline(always)]
pub(super) fn addresses_v6(frame: &impl Edit, ip: usize) -> Option<[[u8; 16]; 2]> {
    Some([frame.read(ip + 8)?, frame.read(ip + 24)?])
}

/// Writes a header without options. A packet that cannot be fragmented needs no identification (RFC 6864).
#[inline(always)]
pub(super) fn write_v4(
    frame: &mut impl Edit,
    ip: usize,
    protocol: u8,
    payload: usize,
    [source, destination]: [[u8; 4]; 2],
) -> Option<()> {
    let [l0, l1] = ((V4 + payload) as u16).to_be_bytes();
    let front = [0x45, 0, l0, l1, 0, 0, DONT_FRAGMENT, 0, HOPS, protocol];
    let sum = Sum::new().bytes(&front).bytes(&source).bytes(&destination);
    frame.write(ip, front)?;
    frame.write(ip + 10, sum.finish())?;
    frame.write(ip + 12, destination)?;
    frame.write(ip + 16, source)
}

/// Writes a header without extensions.
#[inline(always)]
pub(super) fn write_v6(
    frame: &mut impl Edit,
    ip: usize,
    protocol: u8,
    payload: usize,
    [source, destination]: [[u8; 16]; 2],
) -> Option<()> {
    let [l0, l1] = (payload as u16).to_be_bytes();
    frame.write(ip, [0x60, 0, 0, 0, l0, l1, protocol, HOPS])?;
    frame.write(ip + 8, destination)?;
    frame.write(ip + 24, source)
}
