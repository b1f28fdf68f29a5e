//! Lists interfaces. Only the attributes that the agent needs are decoded, so that additions of a newer
//! kernel cannot hide an interface.

use netlink_packet_core::{DecodeError, NlasIterator, parse_i32, parse_string, parse_u32};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkHeader, LinkMessage},
};
use xdp_plan::nics::HostLink;

use crate::node::netlink::{NetlinkError, bridge, client::Client, link_info, xdp};

/// `struct ifinfomsg`.
const HEADER_LEN: usize = 16;

// include/uapi/linux/if_link.h
const IFF_LOWER_UP: i32 = 1 << 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;

/// Lists the interfaces of the calling thread's namespace, by interface index.
pub fn host_links() -> Result<Vec<HostLink>, NetlinkError> {
    let client = &mut Client::route()?;
    let mut links = links(client, None)?;
    bridge::add_vlans(client, &mut links)?;
    Ok(links)
}

/// Lists the interfaces of the namespace with this id, or of the calling thread's namespace.
pub(super) fn links(client: &mut Client, netns_id: Option<i32>) -> Result<Vec<HostLink>, NetlinkError> {
    let request = "RTM_GETLINK";
    let mut message = LinkMessage::default();
    message.attributes.extend(netns_id.map(LinkAttribute::IfNetnsId));
    let replies = client.dump(request, &RouteNetlinkMessage::GetLink(message))?;
    let links: Result<Vec<_>, _> = replies.iter().map(|reply| decode(reply)).collect();
    let mut links = links.map_err(|source| NetlinkError::Malformed { request, source })?;
    links.sort_by_key(|link| link.ifindex);
    Ok(links)
}

/// Reads one interface of the namespace with this id.
pub(super) fn link(client: &mut Client, netns_id: i32, ifindex: u32) -> Result<HostLink, NetlinkError> {
    let request = "RTM_GETLINK";
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.attributes.push(LinkAttribute::IfNetnsId(netns_id));
    let reply = client.get(request, RouteNetlinkMessage::GetLink(message))?;
    decode(&reply).map_err(|source| NetlinkError::Malformed { request, source })
}

pub(super) fn decode(message: &[u8]) -> Result<HostLink, DecodeError> {
    let mut link = decode_header(&LinkHeader::parse(message)?);
    for attribute in NlasIterator::new(message.get(HEADER_LEN..).unwrap_or_default()) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            IFLA_ADDRESS => link.mac = value.try_into().unwrap_or_default(),
            IFLA_IFNAME => link.name = parse_string(value)?,
            IFLA_MTU => link.mtu = parse_u32(value)?,
            IFLA_LINK => link.link = Some(parse_u32(value)?),
            IFLA_MASTER => link.master = Some(parse_u32(value)?),
            IFLA_LINKINFO => link_info::decode(value, &mut link)?,
            IFLA_LINK_NETNSID => link.link_netns = Some(parse_i32(value)?),
            IFLA_PROP_LIST => link.altnames = decode_names(value)?,
            IFLA_XDP => link.xdp = xdp::decode(value)?,
            _ => {}
        }
    }
    Ok(link)
}

fn decode_header(header: &LinkHeader) -> HostLink {
    let flags = header.flags.bits() as i32;
    HostLink {
        ifindex: header.index,
        up: flags & libc::IFF_UP != 0,
        loopback: flags & libc::IFF_LOOPBACK != 0,
        carrier: flags & IFF_LOWER_UP != 0,
        ..HostLink::default()
    }
}

fn decode_names(nested: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut names = Vec::new();
    for attribute in NlasIterator::new(nested) {
        let attribute = attribute?;
        if attribute.kind() == IFLA_ALT_IFNAME {
            names.push(parse_string(attribute.value())?);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::node::netlink::tests::attribute;

    #[test]
    fn unknown_and_odd_attributes_do_not_hide_an_interface() {
        let mut message = [0; HEADER_LEN].to_vec();
        message[4..8].copy_from_slice(&7u32.to_ne_bytes());
        message.extend(attribute(999, b"unknown"));
        message.extend(attribute(IFLA_ADDRESS, &[1, 2, 3, 4, 5, 6, 7, 8]));
        message.extend(attribute(IFLA_IFNAME, b"ib0\0"));
        let link = decode(&message).unwrap();
        assert_eq!((link.ifindex, link.name.as_str(), link.mac), (7, "ib0", [0; 6]));
    }

    #[test]
    fn alternative_names_are_listed() {
        let names = [
            attribute(IFLA_ALT_IFNAME, b"enp59s0f0np0\0"),
            attribute(IFLA_ALT_IFNAME, b"uplink\0"),
        ];
        let mut message = [0; HEADER_LEN].to_vec();
        message.extend(attribute(IFLA_PROP_LIST | 1 << 15, &names.concat()));
        assert_eq!(decode(&message).unwrap().altnames, ["enp59s0f0np0", "uplink"]);
    }

    proptest! {
        /// Any bytes, and a whole message that is cut or has a byte changed.
        #[test]
        fn no_bytes_make_the_decoder_panic(
            bytes in vec(any::<u8>(), 0..128),
            cut in 0_usize..96,
            (at, value) in (0_usize..96, any::<u8>()),
        ) {
            let _ = decode(&bytes);
            let mut message = [0; HEADER_LEN].to_vec();
            message.extend(attribute(IFLA_LINKINFO, &attribute(1, b"veth\0")));
            message.extend(attribute(IFLA_XDP, &attribute(2, &[1])));
            message.extend(attribute(IFLA_PROP_LIST, &attribute(IFLA_ALT_IFNAME, b"nic\0")));
            message.extend(attribute(IFLA_MTU, &1500u32.to_ne_bytes()));
            let _ = decode(message.get(..cut).unwrap_or(&message));
            if let Some(byte) = message.get_mut(at) {
                *byte = value;
            }
            let _ = decode(&message);
        }
    }
}
