//! An XDP program that stores the hints of the last frame in a map.
//!
//! It is assembled here because hints need a program that is bound to a device and calls kernel functions by
//! their BTF ids, which the loader of the other programs does not do.

use std::{
    ffi::c_long,
    fs, io,
    net::UdpSocket,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    time::{SystemTime, UNIX_EPOCH},
};

use aya_obj::btf::{Btf, BtfKind};
use serde::{Deserialize, Serialize};

// Commands of bpf(2), and constants of include/uapi/linux/bpf.h.
const MAP_CREATE: c_long = 0;
const MAP_LOOKUP: c_long = 1;
const PROGRAM_LOAD: c_long = 5;
const LINK_CREATE: c_long = 28;
const ARRAY: u32 = 2;
const XDP_PROGRAM: u32 = 6;
const XDP_ATTACH: u32 = 37;
const BOUND_TO_DEVICE: u32 = 1 << 6;
const DRIVER_MODE: u32 = 1 << 2;

/// `SIOCSHWTSTAMP`, and its filter for all frames.
const SET_TIMESTAMPS: u64 = 0x89b0;
const ALL_FRAMES: i32 = 1;

/// Fields of the map's value.
const FIELDS: i16 = 9;

/// The hints of a frame, each with the result of its kernel function.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hints {
    /// Frames so far.
    pub(crate) frames: u64,
    /// In nanoseconds since 1970.
    pub(crate) timestamp: (i64, u64),
    pub(crate) hash: (i64, u32),
    pub(crate) hash_type: u32,
    /// Type and control information.
    pub(crate) tag: (i64, u16, u16),
    /// Time of the guest's clock, in nanoseconds since 1970.
    pub(crate) now: u64,
}

/// The program, which is attached as long as this lives.
pub(crate) struct Attached {
    map: OwnedFd,
    _link: OwnedFd,
    _program: OwnedFd,
}

/// Calls bpf(2) with attributes as in `union bpf_attr`.
fn bpf(command: c_long, attributes: &mut [u64]) -> io::Result<RawFd> {
    let (pointer, size) = (attributes.as_mut_ptr(), size_of_val(attributes));
    #[expect(unsafe_code, reason = "no crate has the system call with all attributes")]
    // SAFETY: the attributes and what they point to live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as RawFd)
    }
}

fn owned(descriptor: RawFd) -> OwnedFd {
    #[expect(unsafe_code, reason = "bpf(2) returns a number")]
    // SAFETY: the kernel has just returned the descriptor, and nothing else has it.
    unsafe {
        OwnedFd::from_raw_fd(descriptor)
    }
}

/// Two 32-bit attributes.
fn pair(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

/// Returns an instruction (`struct bpf_insn`).
fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    let registers = u64::from(source << 4 | destination);
    u64::from(code) | registers << 8 | u64::from(offset as u16) << 16 | u64::from(immediate as u32) << 32
}

/// Returns the stack offset of a field of the value.
fn slot(field: i16) -> i16 {
    -8 * (field + 1)
}

fn program(map: RawFd) -> Vec<u64> {
    let btf = Btf::from_sys_fs().unwrap();
    let mut code = vec![instruction(0xbf, 6, 1, 0, 0)];
    code.extend((0..=FIELDS).map(|field| instruction(0x7a, 10, 0, slot(field), 0)));
    for (name, result, outputs) in [
        ("bpf_xdp_metadata_rx_timestamp", 1, &[2][..]),
        ("bpf_xdp_metadata_rx_hash", 3, &[4, 5]),
        ("bpf_xdp_metadata_rx_vlan_tag", 6, &[7, 8]),
    ] {
        let id = btf.id_by_type_name_kind(name, BtfKind::Func).unwrap();
        code.push(instruction(0xbf, 1, 6, 0, 0));
        for (register, field) in (2..).zip(outputs) {
            code.push(instruction(0xbf, register, 10, 0, 0));
            code.push(instruction(0x07, register, 0, 0, slot(*field).into()));
        }
        code.push(instruction(0x85, 0, 2, 0, id as i32));
        code.push(instruction(0x7b, 10, 0, slot(result), 0));
    }
    // Look up entry 0, whose key is in the last slot, and return XDP_DROP if it is absent.
    code.push(instruction(0x18, 1, 1, 0, map));
    code.push(0);
    code.push(instruction(0xbf, 2, 10, 0, 0));
    code.push(instruction(0x07, 2, 0, 0, slot(FIELDS).into()));
    code.push(instruction(0x85, 0, 0, 0, 1));
    code.push(instruction(0x55, 0, 0, 2, 0));
    code.push(instruction(0xb7, 0, 0, 0, 1));
    code.push(instruction(0x95, 0, 0, 0, 0));
    for field in 1..FIELDS {
        code.push(instruction(0x79, 1, 10, slot(field), 0));
        code.push(instruction(0x7b, 0, 1, field * 8, 0));
    }
    // Count the frame last: the reader waits for it.
    code.push(instruction(0xb7, 1, 0, 0, 1));
    code.push(instruction(0xdb, 0, 1, 0, 0));
    code.push(instruction(0xb7, 0, 0, 0, 1));
    code.push(instruction(0x95, 0, 0, 0, 0));
    code
}

/// Lets the card give the time of all frames.
fn enable_timestamps(interface: &str) {
    let configuration = [0, 0, ALL_FRAMES];
    let mut request = [0_u8; 40];
    request[..interface.len()].copy_from_slice(interface.as_bytes());
    request[16..24].copy_from_slice(&(configuration.as_ptr() as u64).to_ne_bytes());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    #[expect(unsafe_code, reason = "no crate has the request")]
    // SAFETY: the request and the configuration live until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SET_TIMESTAMPS, request.as_mut_ptr()) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Attaches the program to an interface in driver mode, and enables timestamps.
pub(crate) fn attach(interface: &str) -> Attached {
    let index = fs::read_to_string(format!("/sys/class/net/{interface}/ifindex")).unwrap();
    let index: u32 = index.trim().parse().unwrap();
    let map = owned(bpf(MAP_CREATE, &mut [pair(ARRAY, 4), pair(8 * FIELDS as u32, 1)]).unwrap());
    let code = program(map.as_raw_fd());
    let mut log = vec![0_u8; 1 << 16];
    let mut load = [
        pair(XDP_PROGRAM, code.len() as u32),
        code.as_ptr() as u64,
        c"GPL".as_ptr() as u64,
        pair(1, log.len() as u32),
        log.as_mut_ptr() as u64,
        pair(0, BOUND_TO_DEVICE),
        0,
        0,
        pair(index, XDP_ATTACH),
    ];
    let loaded = bpf(PROGRAM_LOAD, &mut load);
    let program = owned(loaded.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&log))));
    let mut link = [
        pair(program.as_raw_fd() as u32, index),
        pair(XDP_ATTACH, DRIVER_MODE),
    ];
    let link = owned(bpf(LINK_CREATE, &mut link).unwrap());
    enable_timestamps(interface);
    Attached {
        map,
        _link: link,
        _program: program,
    }
}

impl Attached {
    /// Returns the hints of the last frame.
    pub(crate) fn hints(&self) -> Hints {
        let (key, mut value) = (0_u32, [0_u64; FIELDS as usize]);
        let mut lookup = [
            pair(self.map.as_raw_fd() as u32, 0),
            (&raw const key) as u64,
            value.as_mut_ptr() as u64,
            0,
        ];
        bpf(MAP_LOOKUP, &mut lookup).unwrap();
        // Kernel functions return 32 bits.
        let result = |field: usize| i64::from(value[field] as i32);
        Hints {
            frames: value[0],
            timestamp: (result(1), value[2]),
            hash: (result(3), value[4] as u32),
            hash_type: value[5] as u32,
            tag: (result(6), u16::from_be(value[7] as u16), value[8] as u16),
            now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64,
        }
    }
}
