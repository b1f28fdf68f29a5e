//! Packet sockets: raw frames on an interface.
#![expect(
    unsafe_code,
    reason = "packet sockets are addressed by a structure that libc only declares"
)]

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use crate::shared::CLIENT;

/// IEEE's ethertype for experiments: no protocol of the kernel receives such frames.
pub(crate) const EXPERIMENT: [u8; 2] = [0x88, 0xb5];

/// A packet socket on one interface.
pub(crate) struct Wire {
    socket: OwnedFd,
}

impl Wire {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open(ifindex: u32) -> Self {
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: plain system call; the result is checked below.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        assert!(fd >= 0, "socket: {}", io::Error::last_os_error());
        // SAFETY: the kernel has just returned this descriptor.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all zeroes is a valid address.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = ifindex as i32;
        // SAFETY: the length is that of the address.
        let bound = unsafe {
            libc::bind(
                fd,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        assert_eq!(bound, 0, "bind: {}", io::Error::last_os_error());
        Self { socket }
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        // SAFETY: the length is that of the buffer.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "send: {}", io::Error::last_os_error());
    }

    /// Returns the next incoming frame; outgoing frames are skipped.
    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        loop {
            let mut buffer = vec![0; 4096];
            // SAFETY: all zeroes is a valid address.
            let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            let mut length = size_of::<libc::sockaddr_ll>() as u32;
            // SAFETY: the lengths are those of buffer and address.
            let received = unsafe {
                libc::recvfrom(
                    self.socket.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    libc::MSG_DONTWAIT,
                    (&raw mut from).cast(),
                    &raw mut length,
                )
            };
            let received = usize::try_from(received).ok()?;
            if from.sll_pkttype != libc::PACKET_OUTGOING {
                buffer.truncate(received);
                return Some(buffer);
            }
        }
    }
}

/// A frame of `length` bytes whose payload bytes are their positions.
pub(crate) fn frame(destination: [u8; 6], length: usize) -> Vec<u8> {
    let mut frame = header(destination).to_vec();
    frame.extend((frame.len()..length).map(|at| at as u8));
    frame
}

/// The Ethernet header of such a frame.
pub(crate) fn header(destination: [u8; 6]) -> [u8; 14] {
    let mut header = [0; 14];
    header[..6].copy_from_slice(&destination);
    header[6..12].copy_from_slice(&CLIENT);
    header[12..].copy_from_slice(&EXPERIMENT);
    header
}

/// Inserts an 802.1Q tag into a frame.
pub(crate) fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    let tag = [0x81, 0x00, (vlan >> 8) as u8, vlan as u8];
    [&frame[..12], &tag, &frame[12..]].concat()
}

/// An IPv4 UDP packet with a payload of `length` bytes, an even number. Its checksums are complete, as a real
/// NIC delivers them: GRO does not merge UDP packets without one.
pub(crate) fn udp(destination: [u8; 6], length: u16) -> Vec<u8> {
    const ADDRESSES: [u8; 8] = [10, 0, 0, 1, 10, 0, 0, 2];
    let udp_length = (8 + length).to_be_bytes();
    let mut ip = vec![0x45, 0];
    ip.extend((28 + length).to_be_bytes());
    ip.extend([0, 0, 0x40, 0, 64, libc::IPPROTO_UDP as u8, 0, 0]);
    ip.extend(ADDRESSES);
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);

    let mut udp = vec![0x10, 0x01, 0x10, 0x02];
    udp.extend(udp_length);
    udp.extend([0, 0]);
    udp.resize(udp.len() + usize::from(length), b'x');
    let pseudo_header = [&ADDRESSES[..], &[0, libc::IPPROTO_UDP as u8], &udp_length].concat();
    let sum = checksum(&[&pseudo_header[..], &udp].concat());
    udp[6..8].copy_from_slice(&sum);

    let mut header = header(destination);
    header[12..].copy_from_slice(&[0x08, 0x00]);
    [&header[..], &ip, &udp].concat()
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes
        .chunks_exact(2)
        .map(|word| u16::from_be_bytes([word[0], word[1]]));
    let mut sum: u32 = words.map(u32::from).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!sum as u16).to_be_bytes()
}
