//! The agent's decoders, compiled from its own files, and what must hold for each of them.

use std::fmt::Debug;

use netlink_packet_core::DecodeError;
use xdp_core::parse::protocol::TCP;

use self::{
    netconf::ReversePathFilters,
    reply::Messages,
    unknown::{Nested, with_unknown},
};

#[path = "../../../../src/node/netlink/address.rs"]
mod address;
#[path = "../../../../src/node/netlink/bridge.rs"]
mod bridge;
#[path = "../../../../src/node/netlink/client.rs"]
mod client;
#[path = "../../../../src/node/netlink/conntrack.rs"]
mod conntrack;
#[path = "../../../../src/node/netlink/error.rs"]
mod error;
#[path = "../../../../src/node/netlink/ethnl.rs"]
mod ethnl;
#[path = "../../../../src/node/netlink/filter.rs"]
mod filter;
#[path = "../../../../src/node/netlink/genl.rs"]
mod genl;
#[path = "../../../../src/node/netlink/link.rs"]
mod link;
#[path = "../../../../src/node/netlink/link_info.rs"]
mod link_info;
mod monitor;
#[path = "../../../../src/node/netlink/netconf.rs"]
mod netconf;
#[path = "../../../../src/node/netlink/networks.rs"]
mod networks;
mod replies;
#[path = "../../../../src/node/netlink/reply.rs"]
mod reply;
#[path = "../../../../src/node/netlink/route.rs"]
mod route;
#[path = "../../../../src/node/netlink/sockets.rs"]
mod sockets;
#[path = "../../../../src/node/netlink/tunnel.rs"]
mod tunnel;
mod unknown;
#[path = "../../../../src/node/netlink/xdp.rs"]
mod xdp;

pub(crate) use self::error::NetlinkError;

/// `struct nlmsghdr`.
const MESSAGE_HEADER: usize = 16;

// Headers before the attributes: `struct genlmsghdr` and the like.
const GENERIC: usize = 4;
const ADDRESS: usize = 8;
const ROUTE: usize = 12;
const LINK: usize = 16;
const FILTER: usize = 20;
const SOCKET: usize = 72;

// Attributes with attributes inside.
const IN_LINK: &[Nested] = &[
    // IFLA_LINKINFO, with IFLA_INFO_DATA and IFLA_INFO_SLAVE_DATA; IFLA_XDP; IFLA_PROP_LIST.
    Nested::new(18, IN_LINK_INFO),
    Nested::new(43, &[]),
    Nested::new(52, &[]),
];
const IN_LINK_INFO: &[Nested] = &[Nested::new(2, &[]), Nested::new(5, &[])];
/// `IFLA_AF_SPEC`.
const IN_BRIDGE: &[Nested] = &[Nested::new(26, &[])];
/// `CTRL_ATTR_MCAST_GROUPS`, with attributes that are numbered.
const IN_FAMILY: &[Nested] = &[Nested::new(7, &[Nested::ANY])];

/// `CTA_TUPLE_ORIG` and `CTA_TUPLE_REPLY`, with `CTA_TUPLE_IP` and `CTA_TUPLE_PROTO`.
const IN_CONNECTION: &[Nested] = &[Nested::new(1, IN_TUPLE), Nested::new(2, IN_TUPLE)];
const IN_TUPLE: &[Nested] = &[Nested::new(1, &[]), Nested::new(2, &[])];

/// Kinds of interfaces that are tunnels of each sort, and one that is none.
const KINDS: [&str; 4] = ["vxlan", "ipip", "wireguard", "veth"];

/// Checks a datagram.
pub(crate) fn check(datagram: &[u8]) {
    replies::check(datagram);
    let mut messages = 0;
    for message in Messages(datagram).flatten() {
        messages += 1;
        check_payload(message.payload());
        monitor::check(message.message_type(), message.payload());
    }
    assert!(
        messages * MESSAGE_HEADER <= datagram.len(),
        "a message was seen twice"
    );
    monitor::check_datagram(datagram);
    // So that a changed length does not hide a payload.
    if let (0, Some(payload)) = (messages, datagram.get(MESSAGE_HEADER..)) {
        check_payload(payload);
    }
}

/// Checks the payload of a message, whatever the message's type: each decoder gets those of the others.
fn check_payload(payload: &[u8]) {
    stays(payload, LINK, IN_LINK, link::decode);
    stays(payload, LINK, IN_BRIDGE, bridge::decode);
    stays(payload, ADDRESS, &[], address::decode);
    stays(payload, ADDRESS, &[], networks::decode);
    stays(payload, ROUTE, &[], route::decode);
    stays(payload, FILTER, &[], filter::decode);
    stays(payload, GENERIC, &[], rp_filter);
    stays(payload, GENERIC, &[], genl::features);
    stays(payload, GENERIC, &[], ethnl::is_split);
    stays(payload, GENERIC, IN_FAMILY, genl::decode_family);
    stays(payload, GENERIC, IN_CONNECTION, conntrack::decode);
    stays(payload, SOCKET, &[], |socket| sockets::decode(TCP, socket));
    for kind in KINDS {
        stays(payload, 0, IN_LINK_INFO, |info| tunnel::tunnel(kind, info));
    }
}

fn rp_filter(message: &[u8]) -> Result<ReversePathFilters, DecodeError> {
    let mut filters = ReversePathFilters::default();
    filters.add(message).map(|()| filters)
}

/// Checks that what a decoder says of a message stays when unknown attributes are added.
fn stays<T: Debug + PartialEq>(
    message: &[u8],
    header: usize,
    nested: &[Nested],
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) {
    let Ok(said) = decode(message) else {
        return;
    };
    if let Some(longer) = with_unknown(message, header, nested) {
        let says = decode(&longer);
        let says = says.unwrap_or_else(|error| panic!("{said:?} became an error: {error}"));
        assert_eq!(says, said, "{longer:?}");
    }
}
