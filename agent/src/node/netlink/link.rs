//! Lists interfaces. Only the attributes that the agent needs are decoded, so that additions of a newer
//! kernel cannot hide an interface.

use netlink_packet_core::{
    DecodeError, NlasIterator, parse_i32, parse_string, parse_u8, parse_u16, parse_u16_be, parse_u32,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkHeader, LinkMessage},
};
use xdp_core::tables::TagId;
use xdp_plan::nics::{HostLink, XdpMode, XdpState};

use crate::node::netlink::{NetlinkError, bridge, client::Client, tunnel::tunnel};

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
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_PASSTHRU: u32 = 8;
const MACVLAN_MODE_SOURCE: u32 = 16;
/// State of a port: the first attribute of a bridge's ports as well as of a bond's.
const IFLA_BRPORT_STATE: u16 = 1;
const BR_STATE_FORWARDING: u8 = 3;
const IFLA_BOND_SLAVE_STATE: u16 = 1;
const BOND_STATE_ACTIVE: u8 = 0;
/// Protocol number of a VLAN tag.
const VLAN: u16 = 0x8100;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_HW_PROG_ID: u16 = 7;

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
    let header = LinkHeader::parse(message)?;
    let flags = header.flags.bits() as i32;
    let mut link = HostLink {
        ifindex: header.index,
        up: flags & libc::IFF_UP != 0,
        loopback: flags & libc::IFF_LOOPBACK != 0,
        carrier: flags & IFF_LOWER_UP != 0,
        ..HostLink::default()
    };
    for attribute in NlasIterator::new(message.get(HEADER_LEN..).unwrap_or_default()) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            IFLA_ADDRESS => link.mac = value.try_into().unwrap_or_default(),
            IFLA_IFNAME => link.name = parse_string(value)?,
            IFLA_MTU => link.mtu = parse_u32(value)?,
            IFLA_LINK => link.link = Some(parse_u32(value)?),
            IFLA_MASTER => link.master = Some(parse_u32(value)?),
            IFLA_LINKINFO => {
                decode_info(value, &mut link)?;
                link.tunnel = tunnel(&link.kind, value)?;
            }
            IFLA_LINK_NETNSID => link.link_netns = Some(parse_i32(value)?),
            IFLA_PROP_LIST => link.altnames = decode_names(value)?,
            IFLA_XDP => link.xdp = decode_xdp(value)?,
            _ => {}
        }
    }
    Ok(link)
}

fn decode_info(nested: &[u8], link: &mut HostLink) -> Result<(), DecodeError> {
    let (mut data, mut port_kind, mut port) = (&[][..], String::new(), &[][..]);
    let attributes: Vec<_> = NlasIterator::new(nested).collect::<Result<_, _>>()?;
    for attribute in &attributes {
        match attribute.kind() {
            IFLA_INFO_KIND => link.kind = parse_string(attribute.value())?,
            IFLA_INFO_DATA => data = attribute.value(),
            IFLA_INFO_SLAVE_KIND => port_kind = parse_string(attribute.value())?,
            IFLA_INFO_SLAVE_DATA => port = attribute.value(),
            _ => {}
        }
    }
    decode_data(data, link)?;
    link.inactive_port = is_inactive(&port_kind, port)?;
    Ok(())
}

/// Decodes what is particular to a kind of interfaces.
fn decode_data(nested: &[u8], link: &mut HostLink) -> Result<(), DecodeError> {
    let (mut vlan, mut protocol) = (None, VLAN);
    for attribute in NlasIterator::new(nested) {
        let attribute = attribute?;
        let value = attribute.value();
        match (link.kind.as_str(), attribute.kind()) {
            ("vlan", IFLA_VLAN_ID) => vlan = Some(parse_u16(value)?),
            ("vlan", IFLA_VLAN_PROTOCOL) => protocol = parse_u16_be(value)?,
            ("bridge", IFLA_BR_VLAN_FILTERING) => link.filters_vlans = parse_u8(value)? != 0,
            ("macvlan" | "macvtap", IFLA_MACVLAN_MODE) => {
                let mode = parse_u32(value)?;
                link.passthru = mode == MACVLAN_MODE_PASSTHRU;
                link.by_source = mode == MACVLAN_MODE_SOURCE;
            }
            _ => {}
        }
    }
    link.vlan = vlan.map(|vlan| TagId::new(protocol, vlan));
    Ok(())
}

fn is_inactive(kind: &str, nested: &[u8]) -> Result<bool, DecodeError> {
    for attribute in NlasIterator::new(nested) {
        let attribute = attribute?;
        match (kind, attribute.kind()) {
            ("bridge", IFLA_BRPORT_STATE) => return Ok(parse_u8(attribute.value())? != BR_STATE_FORWARDING),
            ("bond", IFLA_BOND_SLAVE_STATE) => return Ok(parse_u8(attribute.value())? != BOND_STATE_ACTIVE),
            _ => {}
        }
    }
    Ok(false)
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

fn decode_xdp(nested: &[u8]) -> Result<XdpState, DecodeError> {
    let mut xdp = XdpState::default();
    for attribute in NlasIterator::new(nested) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            IFLA_XDP_ATTACHED => xdp.mode = mode(parse_u8(value)?),
            // The ids come in ascending order of the attribute, the driver's first.
            IFLA_XDP_PROG_ID..=IFLA_XDP_HW_PROG_ID if xdp.program_id.is_none() => {
                xdp.program_id = Some(parse_u32(value)?);
            }
            _ => {}
        }
    }
    Ok(xdp)
}

fn mode(attached: u8) -> XdpMode {
    match attached {
        0 => XdpMode::None,
        1 => XdpMode::Native,
        2 => XdpMode::Generic,
        3 => XdpMode::Offload,
        _ => XdpMode::Multi,
    }
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
            message.extend(attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"veth\0")));
            message.extend(attribute(IFLA_XDP, &attribute(IFLA_XDP_ATTACHED, &[1])));
            message.extend(attribute(IFLA_PROP_LIST, &attribute(IFLA_ALT_IFNAME, b"nic\0")));
            message.extend(attribute(IFLA_MTU, &1500u32.to_ne_bytes()));
            let _ = decode(message.get(..cut).unwrap_or(&message));
            if let Some(byte) = message.get_mut(at) {
                *byte = value;
            }
            let _ = decode(&message);
        }
    }

    #[test]
    fn of_several_programs_the_drivers_is_named() {
        let id = |kind, id: u32| attribute(kind, &id.to_ne_bytes());
        let nested = [attribute(IFLA_XDP_ATTACHED, &[4]), id(5, 11), id(6, 12)].concat();
        assert_eq!(
            decode_xdp(&nested).unwrap(),
            XdpState {
                mode: XdpMode::Multi,
                program_id: Some(11)
            }
        );
    }

    #[test]
    fn no_program_is_no_id() {
        let nested = attribute(IFLA_XDP_ATTACHED, &[0]);
        assert_eq!(decode_xdp(&nested).unwrap(), XdpState::default());
    }
}
