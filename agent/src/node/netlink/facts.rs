//! Finds veth pairs and netkit pairs that reach from this namespace into another one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use netlink_packet_core::{DecodeError, NlasIterator, parse_ip};
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeader, AddressMessage},
};
use xdp_plan::{
    facts::{Link, NodeFacts, Pair},
    nics::HostLink,
};

use crate::node::netlink::{NetlinkError, client::Client, link::links};

/// `struct ifaddrmsg`.
const HEADER_LEN: usize = 8;

// include/uapi/linux/if_addr.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// The interfaces and addresses of one namespace.
#[derive(Default)]
struct Contents {
    links: BTreeMap<u32, HostLink>,
    addresses: BTreeMap<u32, BTreeSet<IpAddr>>,
}

/// Finds all pairs that reach from the calling thread's namespace into another one, without entering it.
///
/// A namespace that is deleted meanwhile, or has no id yet, is left out: an event follows.
pub fn facts() -> Result<NodeFacts, NetlinkError> {
    let client = &mut Client::route()?;
    let host = links(client, None)?;
    let ids: BTreeSet<i32> = host
        .iter()
        .filter_map(|link| link.link_netns)
        .filter(|id| *id >= 0)
        .collect();
    let mut namespaces = BTreeMap::new();
    for id in ids {
        match contents(client, id) {
            Ok(contents) => {
                namespaces.insert(id, contents);
            }
            Err(error) if vanished(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(NodeFacts {
        pairs: pairs(host, &namespaces),
    })
}

/// `rtnl_get_net_ns_capable` (net/core/rtnetlink.c, Linux 5.0 and later) answers EINVAL for an id without a
/// namespace.
fn vanished(error: &NetlinkError) -> bool {
    matches!(error, NetlinkError::Refused { .. }) && error.errno() == Some(libc::EINVAL)
}

fn contents(client: &mut Client, id: i32) -> Result<Contents, NetlinkError> {
    let links = links(client, Some(id))?;
    let links = links.into_iter().map(|link| (link.ifindex, link)).collect();
    Ok(Contents {
        links,
        addresses: addresses(client, id)?,
    })
}

fn addresses(client: &mut Client, id: i32) -> Result<BTreeMap<u32, BTreeSet<IpAddr>>, NetlinkError> {
    let request = "RTM_GETADDR";
    let mut message = AddressMessage::default();
    message.attributes.push(AddressAttribute::TargetNetNsId(id));
    let replies = client.dump(request, &RouteNetlinkMessage::GetAddress(message))?;
    let mut addresses = BTreeMap::<u32, BTreeSet<IpAddr>>::new();
    for reply in &replies {
        let (ifindex, address) =
            decode(reply).map_err(|source| NetlinkError::Malformed { request, source })?;
        if let Some(address) = address {
            addresses.entry(ifindex).or_default().insert(address);
        }
    }
    Ok(addresses)
}

/// Decodes the interface and its address. `IFA_LOCAL` takes precedence: on a point-to-point interface,
/// `IFA_ADDRESS` is the peer's address.
fn decode(message: &[u8]) -> Result<(u32, Option<IpAddr>), DecodeError> {
    let header = AddressHeader::parse(message)?;
    let (mut address, mut local) = (None, None);
    let is_ip = matches!(i32::from(u8::from(header.family)), libc::AF_INET | libc::AF_INET6);
    for attribute in NlasIterator::new(&message[HEADER_LEN..]).filter(|_| is_ip) {
        let attribute = attribute?;
        match attribute.kind() {
            IFA_ADDRESS => address = Some(parse_ip(attribute.value())?),
            IFA_LOCAL => local = Some(parse_ip(attribute.value())?),
            _ => {}
        }
    }
    Ok((header.index, local.or(address)))
}

/// Matches interfaces to pairs. Both have to name each other: the id of a deleted namespace can already name
/// a new one.
fn pairs(host: Vec<HostLink>, namespaces: &BTreeMap<i32, Contents>) -> Vec<Pair> {
    let other_end = |link: &HostLink| {
        let netns_id = link.link_netns?;
        let contents = namespaces.get(&netns_id)?;
        let pod = contents.links.get(&link.link?)?;
        let mutual = pod.link == Some(link.ifindex) && pod.link_netns.is_some();
        mutual.then(|| {
            (
                netns_id,
                pod.clone(),
                contents.addresses.get(&pod.ifindex).cloned().unwrap_or_default(),
            )
        })
    };
    host.into_iter()
        .filter_map(|link| {
            let (netns_id, pod, addresses) = other_end(&link)?;
            let addresses = addresses.into_iter().collect();
            Some(Pair {
                host: end(link),
                pod: end(pod),
                netns_id,
                addresses,
            })
        })
        .collect()
}

fn end(link: HostLink) -> Link {
    Link {
        ifindex: link.ifindex,
        name: link.name,
        kind: link.kind,
        up: link.up,
        mtu: link.mtu,
        mac: link.mac,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an interface whose peer is `link` in the namespace with this id.
    fn link(ifindex: u32, link: u32, netns_id: i32) -> HostLink {
        let kind = "netkit".to_owned();
        HostLink {
            ifindex,
            kind,
            link: Some(link),
            link_netns: Some(netns_id),
            ..HostLink::default()
        }
    }

    fn found(host: HostLink, netns_id: i32, pod: HostLink) -> Vec<Pair> {
        let contents = Contents {
            links: [(pod.ifindex, pod)].into(),
            addresses: BTreeMap::new(),
        };
        pairs(vec![host], &[(netns_id, contents)].into())
    }

    #[test]
    fn two_interfaces_that_name_each_other_are_a_pair_of_any_kind() {
        let pairs = found(link(7, 2, 4), 4, link(2, 7, 0));
        assert_eq!((pairs[0].netns_id, pairs[0].host.kind.as_str()), (4, "netkit"));
    }

    #[test]
    fn an_interface_that_is_not_named_back_has_no_pair() {
        assert!(
            found(link(7, 2, 4), 4, link(2, 8, 0)).is_empty(),
            "names another one"
        );
        assert!(
            found(link(7, 2, 4), 4, link(3, 7, 0)).is_empty(),
            "is another one"
        );
        let inside = HostLink {
            link_netns: None,
            ..link(2, 7, 0)
        };
        assert!(
            found(link(7, 2, 4), 4, inside).is_empty(),
            "names one of its own namespace"
        );
    }

    #[test]
    fn a_namespace_without_an_id_or_a_deleted_one_has_no_pairs() {
        assert!(found(link(7, 2, -1), 4, link(2, 7, 0)).is_empty());
        assert!(found(link(7, 2, 5), 4, link(2, 7, 0)).is_empty());
    }

    #[test]
    fn the_local_address_counts_and_the_peers_address_and_other_families_do_not() {
        let message = |family: u8, attributes: &[u8]| [&[family, 32, 0, 0, 9, 0, 0, 0], attributes].concat();
        let ptp = [8, 0, 1, 0, 169, 254, 1, 1, 8, 0, 2, 0, 10, 1, 0, 5];
        assert_eq!(
            decode(&message(2, &ptp)).unwrap(),
            (9, Some(IpAddr::from([10, 1, 0, 5])))
        );
        assert_eq!(
            decode(&message(2, &ptp[..8])).unwrap(),
            (9, Some(IpAddr::from([169, 254, 1, 1])))
        );
        assert_eq!(
            decode(&message(45, &[5, 0, 1, 0, 8, 0, 0, 0])).unwrap(),
            (9, None),
            "MCTP"
        );
    }
}
