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

    /// See [`Tags::may_be_dropped`].
    #[inline(always)]
    fn may_be_dropped(&self, tags: Tags) -> bool {
        tags.may_be_dropped(self)
    }
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

/// A frame with more tags than the program reads.
#[derive(Clone, Copy, Debug)]
pub struct Tags {
    /// The destination address.
    pub mac: Mac,
    /// The NIC.
    pub nic: u32,
    /// Protocol and control information of the first two tags, two bytes each.
    pub outer: u64,
    /// The control information of the third one.
    pub third: u32,
}

impl Tags {
    /// Reads the tags of a frame that has at least three.
    #[inline(always)]
    pub fn read<B: Bytes + ?Sized>(bytes: &B) -> Option<Self> {
        let header: [u8; HEADER] = bytes.read(0)?;
        let [
            m0,
            m1,
            m2,
            m3,
            m4,
            m5,
            _,
            _,
            _,
            _,
            _,
            _,
            o0,
            o1,
            o2,
            o3,
            o4,
            o5,
            o6,
            o7,
            _,
            _,
            t0,
            t1,
        ] = header;
        Some(Self {
            mac: u64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5]),
            nic: bytes.ingress(),
            outer: u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
            third: u32::from(u16::from_be_bytes([t0, t1])),
        })
    }

    /// Whether the frame may reach a pod, and some rule of the node drops packets.
    ///
    /// The stack removes any number of tags for the priority alone (`check_vlan_id` in
    /// `__netif_receive_skb_core`, net/core/dev.c). Otherwise it takes such a frame only where more VLAN
    /// interfaces are stacked on the NIC than the program reads tags, and no rule applies there.
    #[inline(always)]
    pub fn may_be_dropped(self, tables: &(impl StationTables + ?Sized)) -> bool {
        let outer = TagId::new((self.outer >> 48) as u16, (self.outer >> 32) as u16);
        let inner = TagId::new((self.outer >> 16) as u16, self.outer as u16);
        let third = TagId::new(0, self.third as u16);
        let station = Station {
            mac: if is_group(self.mac) {
                Station::GROUP
            } else {
                self.mac
            },
            nic: self.nic,
            tags: without_priority(outer, inner),
        };
        [outer, inner, third].contains(&TagId(0))
            && tables
                .station(&station)
                .is_some_and(|receiver| receiver.flags & Receiver::DROPS != 0)
    }
}

/// The addresses, and three tags.
const HEADER: usize = ETHERNET - 2 + 3 * TAG;

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

/// Returns the VLANs of a frame.
#[inline(always)]
fn vlans<B: Bytes + ?Sized>(bytes: &B, tags: u32) -> [TagId; 2] {
    let outer = if tags > 0 { tag(bytes, 0) } else { TagId(0) };
    let inner = if tags > 1 { tag(bytes, 1) } else { TagId(0) };
    without_priority(outer, inner)
}

/// The stack skips tags for the priority alone.
#[inline(always)]
fn without_priority(outer: TagId, inner: TagId) -> [TagId; 2] {
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
