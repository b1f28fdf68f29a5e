//! Decodes what a link says about its kind, and about what it is a port of.

use netlink_packet_core::{
    DecodeError, NlasIterator, parse_string, parse_u8, parse_u16, parse_u16_be, parse_u32,
};
use xdp_core::tables::TagId;
use xdp_plan::nics::HostLink;

use crate::node::netlink::tunnel::tunnel;

// include/uapi/linux/if_link.h
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

/// Decodes `IFLA_LINKINFO`.
pub(super) fn decode(nested: &[u8], link: &mut HostLink) -> Result<(), DecodeError> {
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
    link.tunnel = tunnel(&link.kind, nested)?;
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
