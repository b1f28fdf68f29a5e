//! The types in the maps that the kernel tests and their eBPF programs share.
#![no_std]

/// Source address of every frame that a test sends; the programs pass all others.
pub const CLIENT: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// Entries of the LRU map.
pub const LRU_ENTRIES: u32 = 1024;
/// The number of bytes of a packet that the reader reports.
pub const CAPTURE: usize = 256;

/// What the XDP program does with a frame, in the order of the fields.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ProbePlan {
    /// The action to return. For `XDP_REDIRECT`, the result of the redirect is returned.
    pub action: u32,
    /// Key in the devmap.
    pub slot: u32,
    /// Flags of `bpf_redirect_map`.
    pub redirect_flags: u64,
    /// Argument of `bpf_xdp_adjust_meta`; not called when 0.
    pub meta: i32,
    /// Argument of `bpf_xdp_adjust_head`; not called when 0.
    pub head: i32,
    /// Argument of `bpf_xdp_adjust_tail`; not called when 0.
    pub tail: i32,
    /// 1: the metadata is `value` plus the number of the frame.
    pub numbered: u32,
    /// Written into the first eight bytes of the metadata.
    pub value: u64,
    /// Written over the first bytes after all adjustments, unless it is all zeroes.
    pub header: [u8; 14],
    /// Keeps the size a multiple of eight.
    pub reserved: [u8; 2],
}

/// What the XDP program found at the last frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProbeResult {
    /// Frames so far.
    pub frames: u64,
    /// Result of `bpf_xdp_adjust_meta`.
    pub meta: i64,
    /// Result of `bpf_xdp_adjust_head`.
    pub head: i64,
    /// Result of `bpf_xdp_adjust_tail`.
    pub tail: i64,
    /// Length of the frame after the adjustments.
    pub length: u32,
    /// Length of the metadata after the adjustments.
    pub metadata: u32,
    /// The returned action.
    pub action: u32,
    /// Interface that the program itself finds in the devmap; 0 if none.
    pub device: u32,
}

/// What a program with frags found in the last frame from the tests' client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FrameMeasure {
    /// Frames so far.
    pub frames: u64,
    /// The bytes from `data` to `data_end`: what the program may read directly.
    pub direct: u32,
    /// The bytes of the frame, in all buffers.
    pub total: u32,
    /// Result of `bpf_xdp_load_bytes` for the last 16 bytes.
    pub loaded: i64,
    /// Result of `bpf_xdp_adjust_meta`.
    pub meta: i64,
}

/// What the reader found in an skb.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SkbRecord {
    /// Interface that the skb arrived on.
    pub ifindex: u32,
    /// `skb->len`.
    pub length: u32,
    /// Length of the metadata.
    pub metadata: u32,
    /// `skb->pkt_type`.
    pub kind: u32,
    /// `gso_segs`: how many packets GRO merged; 0 or 1 for a single one.
    pub segments: u32,
    /// 1 if the skb has a VLAN tag out of band.
    pub vlan_present: u32,
    /// The tag's control information.
    pub vlan_tci: u32,
    /// `skb->protocol`, big endian.
    pub protocol: u32,
    /// The first eight bytes of the metadata, or 0 if it is shorter.
    pub value: u64,
    /// The packet from its Ethernet header on.
    pub bytes: [u8; CAPTURE],
}

/// An event of a tracepoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TraceEvent {
    /// One of [`TraceEvent::REDIRECT_ERR`], [`TraceEvent::DEVMAP_XMIT`], [`TraceEvent::EXCEPTION`].
    pub kind: u32,
    /// Interface the frame came from.
    pub from: u32,
    /// Interface the frames went to: `xdp_devmap_xmit` only.
    pub to: u32,
    /// The errno, negative, or 0.
    pub err: i32,
    /// Devmap id and key: `xdp_redirect_err` only.
    pub map: u32,
    /// Key in the devmap.
    pub slot: u32,
    /// Frames of a bulk: `xdp_devmap_xmit` only.
    pub sent: i32,
    /// Frames of a bulk that were lost.
    pub drops: i32,
    /// The returned action: `xdp_exception` only.
    pub action: u32,
}

impl TraceEvent {
    /// `xdp:xdp_redirect_err`
    pub const REDIRECT_ERR: u32 = 0;
    /// `xdp:xdp_devmap_xmit`
    pub const DEVMAP_XMIT: u32 = 1;
    /// `xdp:xdp_exception`
    pub const EXCEPTION: u32 = 2;
}

const _: () = {
    assert!(size_of::<ProbePlan>() == 56);
    assert!(size_of::<ProbeResult>() == 48);
    assert!(size_of::<FrameMeasure>() == 32);
    assert!(size_of::<SkbRecord>() == 40 + CAPTURE);
    assert!(size_of::<TraceEvent>() == 36);
};

/// Promises to aya for user space, which must be made where the types are.
#[cfg(feature = "user")]
mod user {
    #![expect(unsafe_code, reason = "promises to aya about the layout of the types")]

    use super::{FrameMeasure, ProbePlan, ProbeResult};

    // SAFETY: integers only, and the asserted size leaves no room for padding.
    unsafe impl aya::Pod for ProbePlan {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ProbeResult {}
    // SAFETY: as above.
    unsafe impl aya::Pod for FrameMeasure {}
}
