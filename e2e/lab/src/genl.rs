//! Generic netlink (include/uapi/linux/genetlink.h): what neither route netlink nor the older ioctl shows.

use std::io;

use netlink_packet_core::{DefaultNla, Emitable as _, NLM_F_ACK, NLM_F_REQUEST, NlasIterator};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

use crate::{LabError, Namespace};

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

// include/uapi/linux/netdev.h
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

// include/uapi/linux/ethtool_netlink_generated.h
const ETHTOOL_MSG_RINGS_SET: u8 = 16;
const ETHTOOL_A_RINGS_HEADER: u16 = 1;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_RINGS_TCP_DATA_SPLIT: u16 = 11;
const ETHTOOL_TCP_DATA_SPLIT_DISABLED: u8 = 1;
const ETHTOOL_TCP_DATA_SPLIT_ENABLED: u8 = 2;

const NLA_F_NESTED: u16 = 1 << 15;
const NLMSG_ERROR: u16 = 2;
/// Length of `struct nlmsghdr`.
const NLMSGHDR: usize = 16;
/// Length of `struct nlmsghdr` and `struct genlmsghdr`.
const HEADERS: usize = NLMSGHDR + 4;

/// Bit of [`xdp_features`]: the interface can be the target of redirects (`NETDEV_XDP_ACT_NDO_XMIT`).
pub const XDP_FEATURE_NDO_XMIT: u64 = 4;

/// Returns the `xdp-features` of an interface of the calling thread's network namespace.
pub fn xdp_features(ifindex: u32) -> io::Result<u64> {
    let attribute = attribute(NETDEV_A_DEV_IFINDEX, &ifindex.to_ne_bytes());
    let device = request("netdev", NETDEV_CMD_DEV_GET, &attribute, 0)?;
    value(&device, NETDEV_A_DEV_XDP_FEATURES).map(u64::from_ne_bytes)
}

impl Namespace {
    /// Switches TCP data split on or off. The `ethtool` of Debian 12 has no option for that.
    pub fn set_tcp_data_split(&self, ifindex: u32, on: bool) -> Result<(), LabError> {
        let state = if on {
            ETHTOOL_TCP_DATA_SPLIT_ENABLED
        } else {
            ETHTOOL_TCP_DATA_SPLIT_DISABLED
        };
        let device = attribute(ETHTOOL_A_HEADER_DEV_INDEX, &ifindex.to_ne_bytes());
        let mut attributes = attribute(ETHTOOL_A_RINGS_HEADER | NLA_F_NESTED, &device);
        attributes.extend(attribute(ETHTOOL_A_RINGS_TCP_DATA_SPLIT, &[state]));
        let set = || request("ethtool", ETHTOOL_MSG_RINGS_SET, &attributes, NLM_F_ACK);
        self.run(set)?.map(drop).map_err(|source| LabError::Netlink {
            namespace: self.name().to_owned(),
            request: "ETHTOOL_MSG_RINGS_SET".to_owned(),
            source,
        })
    }
}

/// Sends a request to a family. Returns the attributes of the answer; none if it is an acknowledgement.
fn request(family: &str, command: u8, attributes: &[u8], flags: u16) -> io::Result<Vec<u8>> {
    let mut name = family.as_bytes().to_vec();
    name.push(0);
    let answer = send_and_receive(
        GENL_ID_CTRL,
        CTRL_CMD_GETFAMILY,
        &attribute(CTRL_ATTR_FAMILY_NAME, &name),
        0,
    )?;
    let id = value(&answer, CTRL_ATTR_FAMILY_ID).map(u16::from_ne_bytes)?;
    send_and_receive(id, command, attributes, flags)
}

fn send_and_receive(family: u16, command: u8, attributes: &[u8], flags: u16) -> io::Result<Vec<u8>> {
    let length = HEADERS + attributes.len();
    let mut message = u32::try_from(length)
        .map_err(io::Error::other)?
        .to_ne_bytes()
        .to_vec();
    message.extend(family.to_ne_bytes());
    message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    // Sequence number and port.
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend(attributes);

    let socket = Socket::new(NETLINK_GENERIC)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&message, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok());
    if kind.map(u16::from_ne_bytes) != Some(NLMSG_ERROR) {
        return Ok(answer.get(HEADERS..).unwrap_or_default().to_vec());
    }
    let errno = answer
        .get(NLMSGHDR..HEADERS)
        .and_then(|errno| errno.try_into().ok());
    match errno.map(i32::from_ne_bytes) {
        Some(0) => Ok(Vec::new()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno.abs())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Returns an attribute, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let attribute = DefaultNla::new(kind, value.to_vec());
    let mut bytes = vec![0; attribute.buffer_len()];
    attribute.emit(&mut bytes);
    bytes
}

/// Returns the value of the first attribute of this kind.
fn value<const N: usize>(attributes: &[u8], wanted: u16) -> io::Result<[u8; N]> {
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.map_err(io::Error::other)?;
        if attribute.kind() == wanted {
            return attribute.value().try_into().map_err(io::Error::other);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}
