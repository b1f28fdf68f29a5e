//! A foreign XDP program of two instructions, attached by netlink as `ip link` does.
#![expect(
    unsafe_code,
    reason = "bpf(2) has no safe wrapper outside the crate under test"
)]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage, LinkXdp},
};
use netlink_sys::{Socket, SocketAddr, protocols};
use nix::net::if_::if_nametoindex;

/// `XDP_FLAGS_*`.
#[derive(Clone, Copy)]
pub(crate) enum ForeignMode {
    Generic = 2,
    Native = 4,
}

/// Attaches a program that passes everything, in the calling thread's namespace. Returns its id.
pub(crate) fn attach(name: &str, mode: ForeignMode) -> u32 {
    let program = load();
    let mut message = LinkMessage::default();
    message.header.index = if_nametoindex(name).unwrap();
    let xdp = vec![LinkXdp::Fd(program.as_raw_fd()), LinkXdp::Flags(mode as u32)];
    message.attributes.push(LinkAttribute::Xdp(xdp));
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut message = NetlinkMessage::new(header, RouteNetlinkMessage::SetLink(message).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let socket = Socket::new(protocols::NETLINK_ROUTE).unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    socket.send(&bytes, 0).unwrap();
    let (reply, _) = socket.recv_from_full().unwrap();
    let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&reply).unwrap();
    assert!(
        matches!(&reply.payload, NetlinkPayload::Error(error) if error.code.is_none()),
        "{reply:?}"
    );
    id(&program)
}

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` needs; the kernel takes the rest as zero.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    rest: [u64; 4],
}

fn load() -> OwnedFd {
    const BPF_PROG_LOAD: i64 = 5;
    const BPF_PROG_TYPE_XDP: u32 = 6;
    // r0 = XDP_PASS; exit
    let instructions: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
    let attributes = ProgLoad {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: 2,
        insns: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        rest: [0; 4],
    };
    // SAFETY: the kernel reads `size_of::<ProgLoad>()` bytes of attributes, and the instructions and the
    // license they point at, all alive during the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attributes,
            size_of::<ProgLoad>(),
        )
    };
    assert!(fd >= 0, "bpf: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just made this descriptor; nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

fn id(program: &OwnedFd) -> u32 {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).unwrap();
    info.lines()
        .find_map(|line| line.strip_prefix("prog_id:"))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}
