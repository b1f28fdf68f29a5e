//! Reads `xdp-features` of an interface: include/uapi/linux/genetlink.h and netdev.h.

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// The interface can be the target of redirects.
pub(crate) const NDO_XMIT: u64 = 4;

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
/// `struct nlmsghdr` and `struct genlmsghdr`
const HEADERS: usize = 16 + 4;

/// Reads the features of an interface of the calling thread's network namespace.
pub(crate) fn xdp_features(ifindex: u32) -> u64 {
    let family = request(
        GENL_ID_CTRL,
        CTRL_CMD_GETFAMILY,
        CTRL_ATTR_FAMILY_NAME,
        b"netdev\0",
    );
    let family = u16::from_ne_bytes(value(&family, CTRL_ATTR_FAMILY_ID));
    let device = request(
        family,
        NETDEV_CMD_DEV_GET,
        NETDEV_A_DEV_IFINDEX,
        &ifindex.to_ne_bytes(),
    );
    u64::from_ne_bytes(value(&device, NETDEV_A_DEV_XDP_FEATURES))
}

/// Sends a request with one attribute, and returns the attributes of the answer.
fn request(family: u16, command: u8, attribute: u16, value: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(((HEADERS + 4 + value.len().next_multiple_of(4)) as u32).to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend((4 + value.len() as u16).to_ne_bytes());
    message.extend(attribute.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);

    let socket = Socket::new(NETLINK_GENERIC).unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    socket.send(&message, 0).unwrap();
    let (answer, _) = socket.recv_from_full().unwrap();
    assert_eq!(answer[4..6], family.to_ne_bytes(), "an error: {answer:?}");
    answer[HEADERS..].to_vec()
}

fn value<const N: usize>(mut attributes: &[u8], wanted: u16) -> [u8; N] {
    while let [a, b, c, d, ..] = *attributes {
        let (length, kind) = (
            usize::from(u16::from_ne_bytes([a, b])),
            u16::from_ne_bytes([c, d]),
        );
        if kind == wanted {
            return attributes[4..length].try_into().unwrap();
        }
        attributes = &attributes[length.next_multiple_of(4).min(attributes.len())..];
    }
    panic!("no attribute {wanted}");
}
