//! Asks the routes of a namespace.

use std::net::IpAddr;

use netlink_packet_core::{DecodeError, NlasIterator, parse_u32};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage},
};

use crate::node::netlink::{NetlinkError, client::Client};

/// `struct rtmsg`, and its member `rtm_type`.
const HEADER_LEN: usize = 12;
const TYPE: usize = 7;

// include/uapi/linux/rtnetlink.h
const RTN_UNICAST: u8 = 1;
const RTA_OIF: u16 = 4;

/// Returns the interface by which the client's namespace sends packets for an address, from any of its own or
/// from this one. `None`: it sends them nowhere else, or has no route.
pub(crate) fn output_interface(
    client: &mut Client,
    source: Option<IpAddr>,
    address: IpAddr,
) -> Result<Option<u32>, NetlinkError> {
    let request = "RTM_GETROUTE";
    let mut message = RouteMessage::default();
    let (family, length) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    let destination = RouteAddress::from(address);
    message.attributes.push(RouteAttribute::Destination(destination));
    if let Some(source) = source {
        message.header.source_prefix_length = length;
        let source = RouteAddress::from(source);
        message.attributes.push(RouteAttribute::Source(source));
    }
    match client.get(request, RouteNetlinkMessage::GetRoute(message)) {
        Ok(reply) => decode(&reply).map_err(|source| NetlinkError::Malformed { request, source }),
        // ENETUNREACH, EHOSTUNREACH, EACCES: what the routes say of the address. EINVAL: no such source.
        Err(NetlinkError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn decode(message: &[u8]) -> Result<Option<u32>, DecodeError> {
    if message.get(TYPE) != Some(&RTN_UNICAST) {
        return Ok(None);
    }
    for attribute in NlasIterator::new(message.get(HEADER_LEN..).unwrap_or_default()) {
        let attribute = attribute?;
        if attribute.kind() == RTA_OIF {
            return parse_u32(attribute.value()).map(Some);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn message(kind: u8) -> Vec<u8> {
        let mut message = vec![2, 32, 0, 0, 254, 0, 0, kind, 0, 0, 0, 0];
        message.extend([8, 0, 1, 0, 10, 2, 0, 5, 8, 0, 4, 0]);
        message.extend(9u32.to_ne_bytes());
        message
    }

    #[test]
    fn a_unicast_route_leads_to_its_interface_and_others_lead_nowhere() {
        assert_eq!(decode(&message(RTN_UNICAST)).unwrap(), Some(9));
        for kind in [2, 3, 6, 7] {
            assert_eq!(decode(&message(kind)).unwrap(), None, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(
            bytes in vec(any::<u8>(), 0..64),
            cut in 0_usize..=28,
            (at, value) in (0_usize..28, any::<u8>()),
        ) {
            let _ = decode(&bytes);
            let mut message = message(RTN_UNICAST);
            let _ = decode(&message[..cut]);
            message[at] = value;
            let _ = decode(&message);
        }
    }
}
