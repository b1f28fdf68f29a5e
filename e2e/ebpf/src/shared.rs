//! Types that the tests and their eBPF programs share. The tests include this file.

/// Source address of every frame that a test sends; the programs pass all others.
pub(crate) const CLIENT: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// The number of bytes of a packet that the reader reports.
pub(crate) const CAPTURE: usize = 256;

/// What the XDP program does with a frame, in the order of the fields.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Plan {
    /// The action to return. For `XDP_REDIRECT`, the result of the redirect is returned.
    pub(crate) action: u32,
    /// Key in the devmap.
    pub(crate) slot: u32,
    /// Flags of `bpf_redirect_map`.
    pub(crate) redirect_flags: u64,
    /// Argument of `bpf_xdp_adjust_meta`; not called when 0.
    pub(crate) meta: i32,
    /// Argument of `bpf_xdp_adjust_head`; not called when 0.
    pub(crate) head: i32,
    /// Argument of `bpf_xdp_adjust_tail`; not called when 0.
    pub(crate) tail: i32,
    /// 1: the metadata is `value` plus the number of the frame.
    pub(crate) numbered: u32,
    /// Written into the first eight bytes of the metadata.
    pub(crate) value: u64,
    /// Written over the first bytes after all adjustments, unless it is all zeroes.
    pub(crate) header: [u8; 14],
    /// Keeps the size a multiple of eight.
    pub(crate) reserved: [u8; 2],
}

/// What the XDP program found at the last frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Seen {
    /// Frames so far.
    pub(crate) frames: u64,
    /// Result of `bpf_xdp_adjust_meta`.
    pub(crate) meta: i64,
    /// Result of `bpf_xdp_adjust_head`.
    pub(crate) head: i64,
    /// Result of `bpf_xdp_adjust_tail`.
    pub(crate) tail: i64,
    /// Length of the frame after the adjustments.
    pub(crate) length: u32,
    /// Length of the metadata after the adjustments.
    pub(crate) metadata: u32,
    /// The returned action.
    pub(crate) action: u32,
    /// Interface that the program itself finds in the devmap; 0 if none.
    pub(crate) device: u32,
}

/// What the reader found in an skb.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Record {
    /// Interface that the skb arrived on.
    pub(crate) ifindex: u32,
    /// `skb->len`.
    pub(crate) length: u32,
    /// Length of the metadata.
    pub(crate) metadata: u32,
    /// `skb->pkt_type`.
    pub(crate) kind: u32,
    /// `gso_segs`: how many packets GRO merged; 0 or 1 for a single one.
    pub(crate) segments: u32,
    /// 1 if the skb has a VLAN tag out of band.
    pub(crate) vlan_present: u32,
    /// The tag's control information.
    pub(crate) vlan_tci: u32,
    /// `skb->protocol`, big endian.
    pub(crate) protocol: u32,
    /// The first eight bytes of the metadata, or 0 if it is shorter.
    pub(crate) value: u64,
    /// The packet from its Ethernet header on.
    pub(crate) bytes: [u8; CAPTURE],
}

/// An event of a tracepoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Event {
    /// One of [`Event::REDIRECT_ERR`], [`Event::DEVMAP_XMIT`], [`Event::EXCEPTION`].
    pub(crate) kind: u32,
    /// Interface the frame came from.
    pub(crate) from: u32,
    /// Interface the frames went to: `xdp_devmap_xmit` only.
    pub(crate) to: u32,
    /// The errno, negative, or 0.
    pub(crate) err: i32,
    /// Devmap id and key: `xdp_redirect_err` only.
    pub(crate) map: u32,
    /// Key in the devmap.
    pub(crate) slot: u32,
    /// Frames of a bulk: `xdp_devmap_xmit` only.
    pub(crate) sent: i32,
    /// Frames of a bulk that were lost.
    pub(crate) drops: i32,
    /// The returned action: `xdp_exception` only.
    pub(crate) action: u32,
}

impl Event {
    /// `xdp:xdp_redirect_err`
    pub(crate) const REDIRECT_ERR: u32 = 0;
    /// `xdp:xdp_devmap_xmit`
    pub(crate) const DEVMAP_XMIT: u32 = 1;
    /// `xdp:xdp_exception`
    pub(crate) const EXCEPTION: u32 = 2;
}

const _: () = {
    assert!(size_of::<Plan>() == 56);
    assert!(size_of::<Seen>() == 48);
    assert!(size_of::<Record>() == 40 + CAPTURE);
    assert!(size_of::<Event>() == 36);
};
