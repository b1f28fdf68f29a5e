//! System calls that no crate wraps.
#![expect(unsafe_code, reason = "socket options, control messages and ioctls by hand")]

use std::{
    io,
    mem::{size_of, size_of_val},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// `SO_RCVMARK` (Linux 5.19, include/uapi/asm-generic/socket.h): each datagram carries its skb's mark.
pub(crate) const SO_RCVMARK: libc::c_int = 75;

/// One received datagram's metadata.
pub(crate) struct Datagram {
    pub(crate) len: usize,
    pub(crate) source: Option<IpAddr>,
    pub(crate) mark: u32,
    /// Datagrams that the socket has dropped so far because its buffer was full.
    pub(crate) overflowed: u32,
}

/// Sets a socket option of level `SOL_SOCKET`.
pub(crate) fn set_option(socket: &impl AsRawFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    set_option_of(socket, libc::SOL_SOCKET, option, value)
}

fn set_option_of(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: pointer and length are those of `value`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    check(result as isize).map(drop)
}

/// Receives one datagram with its control messages.
pub(crate) fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<Datagram> {
    let (mut mark, mut overflowed) = (0, 0);
    // SAFETY: both control messages carry a u32.
    let read = |data: *const u8| unsafe { data.cast::<u32>().read_unaligned() };
    let (len, address) = receive_message(socket, buffer, 0, |kind, data| match kind {
        (libc::SOL_SOCKET, libc::SO_MARK) => mark = read(data),
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => overflowed = read(data),
        _ => {}
    })?;
    Ok(Datagram {
        len,
        source: ip(&address),
        mark,
        overflowed,
    })
}

/// Calls recvmsg(2), and `control` with level, type and data of each control message. Returns the length and
/// the sender's address.
fn receive_message(
    socket: &impl AsRawFd,
    buffer: &mut [u8],
    flags: libc::c_int,
    mut control: impl FnMut((libc::c_int, libc::c_int), *const u8),
) -> io::Result<(usize, libc::sockaddr_storage)> {
    let mut space = [0_u64; 16];
    let mut iov = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all-zero is a valid value of these C structs.
    let (mut address, mut message): (libc::sockaddr_storage, libc::msghdr) = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut address).cast();
    message.msg_namelen = size_of_val(&address) as libc::socklen_t;
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = space.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&space);
    // SAFETY: every pointer in `message` is to a live local of the length given with it.
    let len = check(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) })?;
    // SAFETY: the kernel wrote `message`; the CMSG macros stay inside `space`.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            control(
                ((*header).cmsg_level, (*header).cmsg_type),
                libc::CMSG_DATA(header),
            );
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok((len, address))
}

fn ip(address: &libc::sockaddr_storage) -> Option<IpAddr> {
    let address = &raw const *address;
    // SAFETY: the family says which struct the kernel wrote; all are smaller than the storage.
    unsafe {
        match i32::from((*address).ss_family) {
            libc::AF_INET => {
                let v4 = &*address.cast::<libc::sockaddr_in>();
                Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
            }
            libc::AF_INET6 => {
                let v6 = &*address.cast::<libc::sockaddr_in6>();
                Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).to_canonical())
            }
            _ => None,
        }
    }
}

/// Disconnects a TCP socket: the other end gets a reset.
pub(crate) fn disconnect(socket: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: all-zero is a valid value, whose family is AF_UNSPEC.
    let unspecified: libc::sockaddr = unsafe { std::mem::zeroed() };
    let length = size_of_val(&unspecified) as libc::socklen_t;
    // SAFETY: pointer and length are those of `unspecified`.
    check(unsafe { libc::connect(socket.as_raw_fd(), &raw const unspecified, length) } as isize).map(drop)
}

/// Opens a packet socket on one interface. With `receives` it gets every frame that arrives there.
pub(crate) fn packet_socket(ifindex: u32, receives: bool) -> io::Result<OwnedFd> {
    // No protocol before bind: otherwise it receives frames of other interfaces first.
    // SAFETY: no pointers.
    let fd =
        check(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) } as isize)?;
    // SAFETY: the kernel has just returned this descriptor.
    let socket = unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) };
    set_option_of(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
    if receives {
        // A test may read late; earlier frames must not make the kernel drop the one it waits for.
        set_option_of(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 32 << 20)?;
    }
    let protocol = if receives { libc::ETH_P_ALL as u16 } else { 0 };
    // SAFETY: all-zero is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = ifindex as libc::c_int;
    // SAFETY: pointer and length are those of `address`.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    check(result as isize)?;
    Ok(socket)
}

/// Sends one frame.
pub(crate) fn send_frame(socket: &OwnedFd, frame: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length are those of `frame`.
    check(unsafe { libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) }).map(drop)
}

/// Receives the next incoming frame as it was on the wire. Returns `None` for an outgoing one, which a packet
/// socket sees too. The kernel reports the outer VLAN tag separately; this inserts it again.
pub(crate) fn receive_frame(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<Vec<u8>>> {
    let mut auxiliary = None;
    let (len, address) = receive_message(socket, buffer, libc::MSG_DONTWAIT, |kind, data| {
        if kind == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
            // SAFETY: the control message carries this struct.
            auxiliary = Some(unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() });
        }
    })?;
    let mut frame = buffer[..len].to_vec();
    if let Some(auxiliary) = auxiliary {
        insert_vlan_tag(&mut frame, &auxiliary);
    }
    // SAFETY: a packet socket's addresses are `sockaddr_ll`, which is smaller than the storage.
    let address = unsafe { &*(&raw const address).cast::<libc::sockaddr_ll>() };
    Ok((address.sll_pkttype != libc::PACKET_OUTGOING).then_some(frame))
}

fn insert_vlan_tag(frame: &mut Vec<u8>, auxiliary: &libc::tpacket_auxdata) {
    const MACS: usize = 12;
    if auxiliary.tp_status & libc::TP_STATUS_VLAN_VALID != 0 && frame.len() >= MACS {
        let [t0, t1] = auxiliary.tp_vlan_tpid.to_be_bytes();
        let [v0, v1] = auxiliary.tp_vlan_tci.to_be_bytes();
        frame.splice(MACS..MACS, [t0, t1, v0, v1]);
    }
}

/// Calls `SIOCETHTOOL` with a `struct ethtool_value`, and returns the value that the kernel wrote.
pub(crate) fn ethtool(socket: &impl AsRawFd, interface: &str, command: u32, value: u32) -> io::Result<u32> {
    let mut value = [command, value];
    let mut request = interface_request(interface);
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    // SAFETY: `request` is a whole `ifreq` whose data points to a `struct ethtool_value`.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) } as isize)?;
    Ok(value[1])
}

/// Creates a tap interface in the calling thread's network namespace, or opens one that exists. Without
/// packet information: a read or write is one frame.
pub(crate) fn open_tap(name: &str) -> io::Result<std::fs::File> {
    // include/uapi/linux/if_tun.h
    nix::ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, libc::ifreq);
    let tap = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    let mut request = interface_request(name);
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: `request` is a whole `ifreq`.
    unsafe { set_interface(tap.as_raw_fd(), &raw const request) }?;
    Ok(tap)
}

fn interface_request(name: &str) -> libc::ifreq {
    // SAFETY: all-zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name_len = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..name_len].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

pub(crate) fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
