//! Lists the addresses of one interface.

use std::{collections::BTreeSet, net::IpAddr, ops::ControlFlow};

use netlink_packet_core::{DecodeError, NlasIterator, parse_ip};
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeader, AddressMessage},
};
use xdp_plan::facts::WantedAddresses;

use crate::node::netlink::{NetlinkError, client::Client, reply::Listing};

/// `struct ifaddrmsg`.
const HEADER_LEN: usize = 8;

// include/uapi/linux/if_addr.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// A list that changes is tried again this often: then something floods its namespace with changes.
const ATTEMPTS: u32 = 3;
/// As many addresses are read of one interface. IPv4 lists the oldest first.
const MAX_ADDRESSES: usize = 4096;

/// Addresses of an interface.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Those that are wanted.
    pub(super) found: BTreeSet<IpAddr>,
    /// Whether that is all of them.
    pub(super) listing: Listing,
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            found: BTreeSet::new(),
            listing: Listing::Whole,
        }
    }
}

/// Lists the addresses of an interface in the namespace with this id.
pub(super) fn addresses(
    client: &mut Client,
    netns_id: i32,
    ifindex: u32,
    wanted: Option<&WantedAddresses>,
) -> Result<Addresses, NetlinkError> {
    let request = "RTM_GETADDR";
    let mut message = AddressMessage::default();
    message.header.index = ifindex;
    message.attributes.push(AddressAttribute::TargetNetNsId(netns_id));
    let mut addresses = Addresses::default();
    for _ in 0..ATTEMPTS {
        let mut number = 0;
        let mut malformed = None;
        addresses.listing = client.list(
            request,
            RouteNetlinkMessage::GetAddress(message.clone()),
            |reply| {
                number += 1;
                match decode(reply) {
                    Ok(_) if number > MAX_ADDRESSES => return ControlFlow::Break(()),
                    // Older kernels do not filter by interface for every family.
                    Ok((index, Some(address))) if index == ifindex && is_wanted(wanted, address) => {
                        addresses.found.insert(address);
                    }
                    Ok(_) => {}
                    Err(source) => malformed = Some(source),
                }
                ControlFlow::Continue(())
            },
        )?;
        if let Some(source) = malformed {
            return Err(NetlinkError::Malformed { request, source });
        }
        if addresses.listing != Listing::Changing {
            break;
        }
    }
    Ok(addresses)
}

fn is_wanted(wanted: Option<&WantedAddresses>, address: IpAddr) -> bool {
    wanted.is_none_or(|wanted| wanted.contains_key(&address.to_canonical()))
}

/// Decodes the interface and its address. `IFA_LOCAL` takes precedence: on a point-to-point interface,
/// `IFA_ADDRESS` is the peer's address.
pub(super) fn decode(message: &[u8]) -> Result<(u32, Option<IpAddr>), DecodeError> {
    let header = AddressHeader::parse(message)?;
    let (mut address, mut local) = (None, None);
    let is_ip = matches!(i32::from(u8::from(header.family)), libc::AF_INET | libc::AF_INET6);
    let attributes = message.get(HEADER_LEN..).unwrap_or_default();
    for attribute in NlasIterator::new(attributes).filter(|_| is_ip) {
        let attribute = attribute?;
        match attribute.kind() {
            IFA_ADDRESS => address = Some(parse_ip(attribute.value())?),
            IFA_LOCAL => local = Some(parse_ip(attribute.value())?),
            _ => {}
        }
    }
    Ok((header.index, local.or(address)))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const PTP: [u8; 16] = [8, 0, 1, 0, 169, 254, 1, 1, 8, 0, 2, 0, 10, 1, 0, 5];

    fn message(family: u8, attributes: &[u8]) -> Vec<u8> {
        [&[family, 32, 0, 0, 9, 0, 0, 0], attributes].concat()
    }

    #[test]
    fn the_local_address_counts_and_the_peers_address_and_other_families_do_not() {
        assert_eq!(
            decode(&message(2, &PTP)).unwrap(),
            (9, Some(IpAddr::from([10, 1, 0, 5])))
        );
        assert_eq!(
            decode(&message(2, &PTP[..8])).unwrap(),
            (9, Some(IpAddr::from([169, 254, 1, 1])))
        );
        assert_eq!(
            decode(&message(45, &[5, 0, 1, 0, 8, 0, 0, 0])).unwrap(),
            (9, None),
            "MCTP"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(
            bytes in vec(any::<u8>(), 0..64),
            cut in 0_usize..=24,
            (at, value) in (0_usize..24, any::<u8>()),
        ) {
            let _ = decode(&bytes);
            let mut message = message(2, &PTP);
            let _ = decode(&message[..cut]);
            message[at] = value;
            let _ = decode(&message);
        }
    }
}
