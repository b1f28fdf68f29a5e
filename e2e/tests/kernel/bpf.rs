//! bpf(2) where aya would hide the errno or the mode.
#![expect(unsafe_code, reason = "system calls that no library makes in this way")]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_F_REPLACE: u32 = 1 << 2;
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;

pub(crate) const BPF_XDP: u32 = 37;
pub(crate) const BPF_TCX_INGRESS: u32 = 46;
pub(crate) const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
pub(crate) const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Room for every attribute used here; what is not set stays zero.
type Attr = [u32; 32];

/// `BPF_LINK_CREATE` in the calling thread's network namespace.
pub(crate) fn link_create(program: impl AsFd, ifindex: u32, kind: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = Attr::default();
    attr[..4].copy_from_slice(&[raw(&program), ifindex, kind, flags]);
    let link = bpf(BPF_LINK_CREATE, &attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}

/// `BPF_LINK_UPDATE`, provided that `old` is still the link's program.
pub(crate) fn link_update(link: impl AsFd, new: impl AsFd, old: impl AsFd) -> io::Result<()> {
    let mut attr = Attr::default();
    attr[..4].copy_from_slice(&[raw(&link), raw(&new), BPF_F_REPLACE, raw(&old)]);
    bpf(BPF_LINK_UPDATE, &attr).map(drop)
}

pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let object = bpf(BPF_OBJ_GET, &with_pointer(path.as_ptr() as u64, &[]))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(object) })
}

/// Another process attaches the program natively, pins the link if it is told where, and ends.
pub(crate) fn attach_and_die(program: impl AsFd, ifindex: u32, pin: Option<&Path>) {
    let mut create = Attr::default();
    create[..4].copy_from_slice(&[raw(&program), ifindex, BPF_XDP, XDP_FLAGS_DRV_MODE]);
    let path = pin.map(|path| CString::new(path.as_os_str().as_bytes()).unwrap());
    // SAFETY: the child makes system calls only, as the copy of one thread of several must, and never returns.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let link = bpf(BPF_LINK_CREATE, &create).unwrap_or(-1);
        let pinned = path
            .as_ref()
            .is_none_or(|path| bpf(BPF_OBJ_PIN, &with_pointer(path.as_ptr() as u64, &[link as u32])).is_ok());
        // SAFETY: ends the child at once, without running the parent's destructors.
        unsafe { libc::_exit(i32::from(link < 0 || !pinned)) };
    }
    assert!(child > 0, "fork: {}", io::Error::last_os_error());
    let mut status = -1;
    // SAFETY: waits for the child just made.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(status, 0, "the child could not attach");
}

/// Sends copies of a frame through a program as if a driver had received them in one go.
pub(crate) fn live_frames(program: impl AsFd, frame: &[u8], copies: u32) -> io::Result<()> {
    // struct xdp_md: data, data_end
    let context = [0_u32, frame.len() as u32, 0, 0, 0, 0];
    let mut attr = Attr::default();
    attr[0] = raw(&program);
    attr[2] = frame.len() as u32;
    attr[4..6].copy_from_slice(&halves(frame.as_ptr() as u64));
    attr[8] = copies;
    attr[10] = size_of_val(&context) as u32;
    attr[12..14].copy_from_slice(&halves(context.as_ptr() as u64));
    attr[16] = BPF_F_TEST_XDP_LIVE_FRAMES;
    attr[18] = copies;
    bpf(BPF_PROG_TEST_RUN, &attr).map(drop)
}

fn with_pointer(pointer: u64, rest: &[u32]) -> Attr {
    let mut attr = Attr::default();
    attr[..2].copy_from_slice(&halves(pointer));
    attr[2..2 + rest.len()].copy_from_slice(rest);
    attr
}

/// Both words of a 64-bit field, on the little-endian machines that the eBPF object is built for.
fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn raw(fd: &impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd() as u32
}

fn bpf(command: libc::c_long, attr: &Attr) -> io::Result<i32> {
    // SAFETY: the kernel reads the attribute, and the pointers in it are to what the callers hold.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), size_of::<Attr>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as i32)
    }
}
