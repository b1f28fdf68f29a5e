//! The parts of `union bpf_attr` and of the info structures in use (include/uapi/linux/bpf.h).

/// Types that bpf(2) reads or fills.
///
/// # Safety
/// The layout is the kernel's for the command the type is used with, there is no padding, and every bit
/// pattern is a valid value.
pub(super) unsafe trait Attribute {}

macro_rules! attributes {
    ($($name:ident),+) => { $(
        // SAFETY: `repr(C)`, integers only; the sizes asserted below leave no room for padding.
        unsafe impl Attribute for $name {}
    )+ };
}

attributes!(
    LinkCreate,
    LinkUpdate,
    LinkDetach,
    TracepointOpen,
    ProgramById,
    ProgramQuery,
    ProgramLoad,
    MapCreate,
    PinnedObject,
    Info,
    RawLinkInfo,
    RawProgramInfo,
    RawMapInfo,
    Element,
    LookupBatch
);

/// `BPF_LINK_CREATE`.
#[derive(Default)]
#[repr(C)]
pub(super) struct LinkCreate {
    pub(super) program: u32,
    pub(super) target: u32,
    pub(super) attach_type: u32,
    pub(super) flags: u32,
    pub(super) relative: u32,
    pub(super) reserved: u32,
    pub(super) expected_revision: u64,
}

/// `BPF_LINK_UPDATE`.
#[repr(C)]
pub(super) struct LinkUpdate {
    pub(super) link: u32,
    pub(super) new_program: u32,
    pub(super) flags: u32,
    pub(super) old_program: u32,
}

/// `BPF_LINK_DETACH`.
#[repr(C)]
pub(super) struct LinkDetach {
    pub(super) link: u32,
}

/// `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
pub(super) struct TracepointOpen {
    pub(super) name: u64,
    pub(super) program: u32,
    pub(super) reserved: u32,
}

/// `BPF_PROG_GET_FD_BY_ID`.
#[derive(Default)]
#[repr(C)]
pub(super) struct ProgramById {
    pub(super) id: u32,
    pub(super) next: u32,
    pub(super) flags: u32,
}

/// `BPF_PROG_QUERY`.
#[derive(Default)]
#[repr(C)]
pub(super) struct ProgramQuery {
    pub(super) target: u32,
    pub(super) attach_type: u32,
    pub(super) query_flags: u32,
    pub(super) attach_flags: u32,
    pub(super) ids: u64,
    pub(super) count: u32,
    pub(super) reserved: u32,
    pub(super) rest: [u64; 4],
}

/// `BPF_PROG_LOAD` up to the attach type.
#[derive(Default)]
#[repr(C)]
pub(super) struct ProgramLoad {
    pub(super) kind: u32,
    pub(super) instruction_count: u32,
    pub(super) instructions: u64,
    pub(super) license: u64,
    pub(super) log: [u64; 2],
    pub(super) kernel_version: u32,
    pub(super) flags: u32,
    pub(super) name: [u64; 2],
    pub(super) ifindex: u32,
    pub(super) expected_attach_type: u32,
}

/// `BPF_MAP_CREATE` up to the flags.
#[repr(C)]
pub(super) struct MapCreate {
    pub(super) kind: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
}

/// `BPF_OBJ_PIN`, `BPF_OBJ_GET`.
#[derive(Default)]
#[repr(C)]
pub(super) struct PinnedObject {
    pub(super) path: u64,
    pub(super) fd: u32,
    pub(super) flags: u32,
}

/// `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
pub(super) struct Info {
    pub(super) fd: u32,
    pub(super) len: u32,
    pub(super) buffer: u64,
}

/// `struct bpf_link_info` as far as needed; `subject` and `detail` are the start of its union.
#[derive(Default)]
#[repr(C)]
pub(super) struct RawLinkInfo {
    pub(super) kind: u32,
    pub(super) id: u32,
    pub(super) program: u32,
    pub(super) reserved: u32,
    pub(super) subject: u32,
    pub(super) detail: u32,
    pub(super) rest: [u64; 4],
}

/// `struct bpf_prog_info` up to the map ids.
#[derive(Default)]
#[repr(C)]
pub(super) struct RawProgramInfo {
    pub(super) kind: u32,
    pub(super) id: u32,
    pub(super) tag: [u8; 8],
    pub(super) jited_len: u32,
    pub(super) xlated_len: u32,
    pub(super) jited: u64,
    pub(super) xlated: u64,
    pub(super) load_time: u64,
    pub(super) created_by: u32,
    pub(super) map_count: u32,
    pub(super) map_ids: u64,
}

/// `struct bpf_map_info`, the start.
#[derive(Default)]
#[repr(C)]
pub(super) struct RawMapInfo {
    pub(super) kind: u32,
    pub(super) id: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
}

/// `BPF_MAP_UPDATE_ELEM`, `BPF_MAP_DELETE_ELEM`.
#[derive(Default)]
#[repr(C)]
pub(super) struct Element {
    pub(super) map: u32,
    pub(super) reserved: u32,
    pub(super) key: u64,
    pub(super) value: u64,
    pub(super) flags: u64,
}

/// `BPF_MAP_LOOKUP_BATCH`.
#[derive(Default)]
#[repr(C)]
pub(super) struct LookupBatch {
    pub(super) from: u64,
    pub(super) next: u64,
    pub(super) keys: u64,
    pub(super) values: u64,
    pub(super) count: u32,
    pub(super) map: u32,
    pub(super) element_flags: u64,
    pub(super) flags: u64,
}

const _: () = {
    assert!(size_of::<LinkCreate>() == 32);
    assert!(size_of::<LinkUpdate>() == 16);
    assert!(size_of::<LinkDetach>() == 4);
    assert!(size_of::<TracepointOpen>() == 16);
    assert!(size_of::<ProgramById>() == 12);
    assert!(size_of::<MapCreate>() == 20);
    assert!(size_of::<PinnedObject>() == 16);
    assert!(size_of::<Info>() == 16);
    assert!(size_of::<RawLinkInfo>() == 56);
    assert!(size_of::<RawProgramInfo>() == 64);
    assert!(size_of::<RawMapInfo>() == 24);
    assert!(size_of::<Element>() == 32);
    assert!(size_of::<LookupBatch>() == 56);
};
