//! Which interfaces have a network of their own.

use std::collections::BTreeSet;

use netlink_packet_core::{DecodeError, parse_u32};
use netlink_packet_route::{RouteNetlinkMessage, address::AddressMessage};

use crate::node::netlink::{NetlinkError, client::Client};

/// `RT_SCOPE_LINK`: scopes from here on reach no other node.
const RT_SCOPE_LINK: u8 = 253;

/// Lists the interfaces of the calling thread's namespace that have an address in a network with more than
/// that address, link-local ones aside.
pub(crate) fn with_networks() -> Result<BTreeSet<u32>, NetlinkError> {
    let request = "RTM_GETADDR";
    let message = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let replies = Client::route()?.dump(request, &message)?;
    let found: Result<Vec<Option<u32>>, DecodeError> = replies.iter().map(|reply| decode(reply)).collect();
    let found = found.map_err(|source| NetlinkError::Malformed { request, source })?;
    Ok(found.into_iter().flatten().collect())
}

/// Decodes `struct ifaddrmsg`: family, prefix length, flags, scope, index. The attributes are not needed.
pub(super) fn decode(message: &[u8]) -> Result<Option<u32>, DecodeError> {
    let Some([family, prefix, _, scope, index @ ..]) = message.get(..8) else {
        return Err("an address's header is cut short".into());
    };
    let longest = match i32::from(*family) {
        libc::AF_INET => 32,
        libc::AF_INET6 => 128,
        _ => return Ok(None),
    };
    let index = parse_u32(index)?;
    Ok((*prefix < longest && *scope < RT_SCOPE_LINK).then_some(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_shorter_than_an_address_and_reaches_other_nodes() {
        let found = |family, prefix, scope| decode(&[family, prefix, 0, scope, 7, 0, 0, 0]).unwrap();
        assert_eq!(found(2, 24, 0), Some(7));
        assert_eq!(found(10, 64, 0), Some(7));
        assert_eq!(found(2, 32, 0), None, "the gateway of a pod");
        assert_eq!(found(10, 64, 253), None, "link-local");
        assert_eq!(found(45, 8, 0), None, "MCTP");
        assert!(decode(&[2, 24, 0]).is_err());
    }
}
