//! Decodes what a link says about the tunnel that it is.

use netlink_packet_core::{DecodeError, NlasIterator, parse_u32};
use xdp_plan::nics::Tunnel;

// include/uapi/linux/if_link.h, if_tunnel.h
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VXLAN_LINK: u16 = 3;
/// `IFLA_GRE_LINK`, `IFLA_IPTUN_LINK`, `IFLA_VTI_LINK`, `IFLA_XFRM_LINK`.
const LINK: u16 = 1;

/// Decodes `IFLA_LINKINFO`. `None`: the kind is no tunnel.
pub(super) fn tunnel(kind: &str, info: &[u8]) -> Result<Option<Tunnel>, DecodeError> {
    let lower = match kind {
        "vxlan" => Some(IFLA_VXLAN_LINK),
        "gre" | "gretap" | "erspan" | "ip6gre" | "ip6gretap" | "ip6erspan" | "ipip" | "sit" | "ip6tnl"
        | "vti" | "vti6" | "xfrm" => Some(LINK),
        "geneve" | "wireguard" | "bareudp" | "amt" | "gtp" => None,
        _ => return Ok(None),
    };
    let Some(lower) = lower else {
        return Ok(Some(Tunnel::default()));
    };
    for attribute in NlasIterator::new(info) {
        let attribute = attribute?;
        if attribute.kind() == IFLA_INFO_DATA {
            let lower = index(attribute.value(), lower)?;
            return Ok(Some(Tunnel { lower }));
        }
    }
    Ok(Some(Tunnel::default()))
}

/// Decodes the index of an interface; 0 stands for none.
fn index(data: &[u8], kind: u16) -> Result<Option<u32>, DecodeError> {
    for attribute in NlasIterator::new(data) {
        let attribute = attribute?;
        if attribute.kind() == kind {
            return Ok(Some(parse_u32(attribute.value())?).filter(|index| *index != 0));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::netlink::tests::attribute;

    fn decoded(kind: &str, link: u16, lower: u32) -> Option<Tunnel> {
        let data = [attribute(link, &lower.to_ne_bytes()), attribute(99, &[1])].concat();
        tunnel(kind, &attribute(IFLA_INFO_DATA, &data)).unwrap()
    }

    #[test]
    fn the_lower_interface_is_that_of_the_kind() {
        let over = |lower| Some(Tunnel { lower });
        assert_eq!(decoded("vxlan", 3, 7), over(Some(7)));
        assert_eq!(decoded("ipip", 1, 7), over(Some(7)));
        assert_eq!(decoded("vxlan", 3, 0), over(None), "external");
        assert_eq!(decoded("wireguard", 3, 7), over(None));
        assert_eq!(tunnel("sit", &[]).unwrap(), over(None));
    }

    #[test]
    fn other_kinds_are_no_tunnels_and_cut_data_is_an_error() {
        assert_eq!(decoded("veth", 1, 7), None);
        let data = attribute(IFLA_INFO_DATA, &attribute(3, &[7]));
        assert!(tunnel("vxlan", &data).is_err());
    }
}
