//! The kernel's information about links, programs and maps.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd as _},
};

use crate::datapath::kernel::sys::{
    attr::{RawLinkInfo, RawMapInfo, RawProgramInfo},
    object_info,
};

const BPF_LINK_TYPE_RAW_TRACEPOINT: u32 = 1;
const BPF_LINK_TYPE_XDP: u32 = 6;
const BPF_LINK_TYPE_TCX: u32 = 11;
/// Far more than the agent's programs use.
const MAX_MAP_IDS: usize = 64;

/// The type of a link, and what it is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum LinkKind {
    /// XDP. The interface index is 0 once the interface is gone.
    Xdp { ifindex: u32 },
    /// Classifier, see [`crate::datapath::kernel::sys::Direction::tcx`]. The interface index is 0 once the
    /// interface is gone.
    Tcx { ifindex: u32, attach_type: u32 },
    /// Raw tracepoint.
    RawTracepoint,
    /// Anything else.
    Other,
}

impl LinkKind {
    /// Whether it is attached to something that exists.
    pub(in crate::datapath) const fn is_attached(self) -> bool {
        !matches!(self, Self::Xdp { ifindex: 0 } | Self::Tcx { ifindex: 0, .. })
    }
}

/// A link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) struct LinkInfo {
    pub(in crate::datapath) kind: LinkKind,
    pub(in crate::datapath) program_id: u32,
}

/// The verifier's statistics of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramStats {
    /// Its name in the object.
    pub name: &'static str,
    /// Instructions that the verifier processed (Linux 5.16).
    pub verified_instructions: Option<u32>,
}

/// A program. Two loads of one program differ only in their id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::datapath) struct ProgramInfo {
    pub(in crate::datapath) id: u32,
    pub(in crate::datapath) tag: u64,
    /// Sorted. The tag does not cover the maps, and a program over other maps is another program.
    pub(in crate::datapath) map_ids: Vec<u32>,
}

pub(in crate::datapath) fn link_info(link: impl AsFd) -> io::Result<LinkInfo> {
    let mut raw = RawLinkInfo::default();
    object_info(link, &mut raw)?;
    let kind = match raw.kind {
        BPF_LINK_TYPE_XDP => LinkKind::Xdp { ifindex: raw.subject },
        BPF_LINK_TYPE_TCX => LinkKind::Tcx {
            ifindex: raw.subject,
            attach_type: raw.detail,
        },
        BPF_LINK_TYPE_RAW_TRACEPOINT => LinkKind::RawTracepoint,
        _ => LinkKind::Other,
    };
    Ok(LinkInfo {
        kind,
        program_id: raw.program,
    })
}

pub(in crate::datapath) fn program_info(program: impl AsFd) -> io::Result<ProgramInfo> {
    let mut map_ids = vec![0_u32; MAX_MAP_IDS];
    let mut raw = RawProgramInfo {
        map_count: MAX_MAP_IDS as u32,
        map_ids: map_ids.as_mut_ptr() as u64,
        ..RawProgramInfo::default()
    };
    object_info(program, &mut raw)?;
    map_ids.truncate(raw.map_count as usize);
    map_ids.sort_unstable();
    Ok(ProgramInfo {
        id: raw.id,
        tag: u64::from_be_bytes(raw.tag),
        map_ids,
    })
}

pub(in crate::datapath) fn map_id(map: impl AsFd) -> io::Result<u32> {
    let mut raw = RawMapInfo::default();
    object_info(map, &mut raw)?;
    Ok(raw.id)
}

/// Returns the sizes of a map's keys and values in bytes, and its capacity.
pub(in crate::datapath) fn map_shape(map: impl AsFd) -> io::Result<(u32, u32, u32)> {
    let mut raw = RawMapInfo::default();
    object_info(map, &mut raw)?;
    Ok((raw.key_size, raw.value_size, raw.max_entries))
}

/// Returns the bytes of memory that the kernel accounts for a map.
pub(in crate::datapath) fn accounted(map: impl AsFd) -> io::Result<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_fd().as_raw_fd()))?;
    let bytes = info
        .lines()
        .find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok());
    bytes.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
