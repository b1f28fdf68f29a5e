//! Reads the VLANs of bridges and of their ports.

use netlink_packet_core::{DecodeError, NLA_TYPE_MASK, NlasIterator};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkExtentMask, LinkHeader, LinkMessage},
};
use xdp_plan::nics::{BridgeVlan, HostLink};

use crate::node::netlink::{NetlinkError, client::Client};

/// `struct ifinfomsg`.
const HEADER_LEN: usize = 16;

// include/uapi/linux/if_link.h and if_bridge.h
const IFLA_AF_SPEC: u16 = 26;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const BRIDGE_VLAN_INFO_PVID: u16 = 1 << 1;
const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 1 << 2;

/// Adds the VLANs of bridges and ports to the interfaces of the calling thread's namespace, if any bridge
/// there filters VLANs.
pub(super) fn add_vlans(client: &mut Client, links: &mut [HostLink]) -> Result<(), NetlinkError> {
    if !links.iter().any(|link| link.filters_vlans) {
        return Ok(());
    }
    let request = "RTM_GETLINK (bridge)";
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message
        .attributes
        .push(LinkAttribute::ExtMask(vec![LinkExtentMask::Brvlan]));
    for reply in client.dump(request, &RouteNetlinkMessage::GetLink(message))? {
        let (ifindex, vlans) =
            decode(&reply).map_err(|source| NetlinkError::Malformed { request, source })?;
        if let Some(link) = links.iter_mut().find(|link| link.ifindex == ifindex) {
            link.bridge_vlans.extend(vlans);
        }
    }
    Ok(())
}

pub(super) fn decode(message: &[u8]) -> Result<(u32, Vec<BridgeVlan>), DecodeError> {
    let header = LinkHeader::parse(message)?;
    let mut vlans = Vec::new();
    for attribute in NlasIterator::new(message.get(HEADER_LEN..).unwrap_or_default()) {
        let attribute = attribute?;
        if attribute.kind() & NLA_TYPE_MASK == IFLA_AF_SPEC {
            vlans.extend(decode_vlans(attribute.value())?);
        }
    }
    Ok((header.index, vlans))
}

fn decode_vlans(nested: &[u8]) -> Result<Vec<BridgeVlan>, DecodeError> {
    let mut vlans = Vec::new();
    for attribute in NlasIterator::new(nested) {
        let attribute = attribute?;
        // `struct bridge_vlan_info`: flags and id.
        if attribute.kind() & NLA_TYPE_MASK == IFLA_BRIDGE_VLAN_INFO
            && let [f0, f1, i0, i1] = *attribute.value()
        {
            let flags = u16::from_ne_bytes([f0, f1]);
            vlans.push(BridgeVlan {
                id: u16::from_ne_bytes([i0, i1]),
                pvid: flags & BRIDGE_VLAN_INFO_PVID != 0,
                untagged: flags & BRIDGE_VLAN_INFO_UNTAGGED != 0,
            });
        }
    }
    Ok(vlans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::netlink::tests::attribute;

    #[test]
    fn vlans_are_read_with_their_flags() {
        let info = |flags: u16, id: u16| {
            let value = [flags.to_ne_bytes(), id.to_ne_bytes()].concat();
            attribute(IFLA_BRIDGE_VLAN_INFO, &value)
        };
        let mut message = [0; HEADER_LEN].to_vec();
        message[4..8].copy_from_slice(&7u32.to_ne_bytes());
        message.extend(attribute(IFLA_AF_SPEC, &[info(6, 1), info(0, 30)].concat()));
        let vlan = |id, pvid, untagged| BridgeVlan { id, pvid, untagged };
        let expected = vec![vlan(1, true, true), vlan(30, false, false)];
        assert_eq!(decode(&message).unwrap(), (7, expected));
    }

    #[test]
    fn an_odd_vlan_is_left_out() {
        let nested = attribute(IFLA_BRIDGE_VLAN_INFO, &[1, 0, 1, 0, 9, 9, 9, 9]);
        assert!(decode_vlans(&nested).unwrap().is_empty());
    }
}
