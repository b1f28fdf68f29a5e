//! Decides whether the node's own stack would take a frame from a NIC.

use crate::{
    events::ForeignFrame,
    parse::{Bytes, ETHERNET, TAG},
    tables::{Mac, NicEntry, Receiver, Station, TagId},
};

/// Access to the tables of stations.
pub trait StationTables {
    /// Looks up a NIC in [`crate::tables::maps::NICS`].
    fn nic(&self, ifindex: u32) -> Option<&NicEntry>;

    /// Looks up an element of [`crate::tables::maps::STATIONS`].
    fn station(&self, station: &Station) -> Option<Receiver>;
}

/// Returns the interface that receives a frame with this number of VLAN tags. Nearly all frames are untagged
/// and for the NIC's own address: they need one look-up in an array.
#[inline(always)]
pub fn receiver<B: Bytes + ?Sized>(
    bytes: &B,
    tags: u32,
    tables: &(impl StationTables + ?Sized),
) -> Result<Receiver, ForeignFrame> {
    let nic = tables.nic(bytes.ingress());
    let mac = destination(bytes);
    match nic {
        Some(nic) if tags == 0 && mac == nic.mac => Ok(nic.receiver),
        _ => find(bytes, tags, mac, nic, tables),
    }
}

/// Looks up any frame.
#[inline(always)]
fn find<B: Bytes + ?Sized>(
    bytes: &B,
    tags: u32,
    mac: Mac,
    nic: Option<&NicEntry>,
    tables: &(impl StationTables + ?Sized),
) -> Result<Receiver, ForeignFrame> {
    let station = Station {
        mac: if is_group(mac) { Station::GROUP } else { mac },
        nic: bytes.ingress(),
        tags: vlans(bytes, tags),
    };
    tables.station(&station).ok_or_else(|| match nic {
        None => ForeignFrame::UnknownNic,
        Some(nic) if station.tags[0] != TagId(0) && (mac == nic.mac || is_group(mac)) => {
            ForeignFrame::OtherVlan
        }
        Some(_) => ForeignFrame::OtherStation,
    })
}

/// Returns the VLANs of a frame: the stack skips tags for the priority alone.
#[inline(always)]
fn vlans<B: Bytes + ?Sized>(bytes: &B, tags: u32) -> [TagId; 2] {
    let outer = if tags > 0 { tag(bytes, 0) } else { TagId(0) };
    let inner = if tags > 1 { tag(bytes, 1) } else { TagId(0) };
    if outer == TagId(0) {
        [inner, outer]
    } else {
        [outer, inner]
    }
}

#[inline(always)]
fn tag<B: Bytes + ?Sized>(bytes: &B, number: usize) -> TagId {
    let [p0, p1, c0, c1] = bytes.read(ETHERNET - 2 + TAG * number).unwrap_or_default();
    TagId::new(u16::from_be_bytes([p0, p1]), u16::from_be_bytes([c0, c1]))
}

/// Returns the destination MAC address. The frame has an Ethernet header.
#[inline(always)]
fn destination<B: Bytes + ?Sized>(bytes: &B) -> Mac {
    u64::from_be_bytes(bytes.read(0).unwrap_or_default()) >> 16
}

/// Whether a MAC address is a multicast or broadcast one.
#[inline(always)]
const fn is_group(mac: Mac) -> bool {
    mac >> 40 & 1 != 0
}
