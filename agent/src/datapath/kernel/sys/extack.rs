//! What the kernel says about a refused attach of an XDP program by a link.
//!
//! `BPF_LINK_CREATE` returns an errno only. The kernel gives the message of its own checks and of the driver
//! to the tracepoint `xdp:bpf_xdp_link_attach_failed` (net/core/dev.c, Linux 6.8). A program that is too
//! small to be worth a build of its own copies it into a map.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use crate::datapath::kernel::sys::{
    BPF_PROG_LOAD,
    attr::{Element, MapCreate, ProgramLoad},
    bpf, bpf_fd, raw_tracepoint_open,
};

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
/// `NETLINK_MAX_FMTMSG_LEN` is 80.
const LENGTH: usize = 128;

/// Records the message while it exists.
#[derive(Debug)]
pub(in crate::datapath) struct Extack {
    message: OwnedFd,
    _link: OwnedFd,
}

impl Extack {
    /// Starts to record. An error if the kernel has no such tracepoint.
    pub(in crate::datapath) fn record() -> io::Result<Self> {
        let message = create_array()?;
        let program = load(&message)?;
        let link = raw_tracepoint_open(program.as_fd(), "bpf_xdp_link_attach_failed")?;
        Ok(Self { message, _link: link })
    }

    /// Returns the last message, empty if there was none.
    pub(in crate::datapath) fn message(&self) -> io::Result<String> {
        let (key, mut value) = (0_u32, [0_u8; LENGTH]);
        let attr = Element {
            map: self.message.as_raw_fd() as u32,
            key: &raw const key as u64,
            value: value.as_mut_ptr() as u64,
            ..Element::default()
        };
        bpf(BPF_MAP_LOOKUP_ELEM, &attr)?;
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(LENGTH);
        Ok(String::from_utf8_lossy(&value[..end]).trim().to_owned())
    }
}

fn create_array() -> io::Result<OwnedFd> {
    let attr = MapCreate {
        kind: BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: LENGTH as u32,
        max_entries: 1,
        flags: 0,
    };
    bpf_fd(BPF_MAP_CREATE, &attr)
}

fn load(map: &OwnedFd) -> io::Result<OwnedFd> {
    let program = program(map.as_raw_fd());
    let attr = ProgramLoad {
        kind: BPF_PROG_TYPE_RAW_TRACEPOINT,
        instruction_count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        ..ProgramLoad::default()
    };
    bpf_fd(BPF_PROG_LOAD, &attr)
}

/// Copies the string at the tracepoint's argument to the only element of the map.
const fn program(map: i32) -> [u64; 14] {
    const MAP_LOOKUP: i32 = 1;
    const PROBE_READ_KERNEL_STR: i32 = 115;
    [
        instruction(0x79, 6, 1, 0, 0),             // r6 = *(u64 *)(r1 + 0)
        instruction(0x62, 10, 0, -4, 0),           // *(u32 *)(r10 - 4) = 0
        instruction(0xbf, 2, 10, 0, 0),            // r2 = r10
        instruction(0x07, 2, 0, 0, -4),            // r2 += -4
        instruction(0x18, 1, 1, 0, map),           // r1 = map
        0,                                         // (second half)
        instruction(0x85, 0, 0, 0, MAP_LOOKUP),    // call
        instruction(0x15, 0, 0, 4, 0),             // if r0 == 0 goto +4
        instruction(0xbf, 1, 0, 0, 0),             // r1 = r0
        instruction(0xb7, 2, 0, 0, LENGTH as i32), // r2 = LENGTH
        instruction(0xbf, 3, 6, 0, 0),             // r3 = r6
        instruction(0x85, 0, 0, 0, PROBE_READ_KERNEL_STR),
        instruction(0xb7, 0, 0, 0, 0), // r0 = 0
        instruction(0x95, 0, 0, 0, 0), // exit
    ]
}

/// Encodes `struct bpf_insn`, whose bit fields are in the order of the machine (little endian here).
const fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    code as u64
        | (destination as u64) << 8
        | (source as u64) << 12
        | (offset as u16 as u64) << 16
        | (immediate as u32 as u64) << 32
}
