//! Finds veth pairs and netkit pairs that reach from this namespace into another one, and the addresses that
//! they carry.
//!
//! What is inside a pod's namespace is the pod's to change, without any limit. So nothing there is listed as
//! a whole: each pair's end is asked for by its index, the addresses only of that interface, up to a number,
//! and what one namespace cannot be read for stays as it was read last.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use xdp_client::error_chain;
use xdp_plan::{
    facts::{Link, NodeFacts, Pair, WantedAddresses},
    nics::HostLink,
    report::Problem,
};

use crate::node::{
    netlink::{
        NetlinkError,
        address::{Addresses, addresses},
        client::{Client, Listing},
        link::{link, links},
        route::output_interface,
    },
    netns::sandboxes,
};

/// Reads the pairs of the calling thread's namespace again and again, without entering the others.
#[derive(Debug, Default)]
pub struct FactsReader {
    /// The last whole readings, by the pair's ends.
    known: BTreeMap<Ends, Known>,
}

/// The ends of a pair: the host's index, the namespace's id, and the pod's index.
type Ends = (u32, i32, u32);

#[derive(Clone, Debug)]
struct Known {
    pod: HostLink,
    addresses: Option<BTreeSet<IpAddr>>,
}

/// Reads all pairs with all their addresses once.
pub fn facts() -> Result<NodeFacts, NetlinkError> {
    FactsReader::default().read(None)
}

impl FactsReader {
    /// Reads the pairs. Of their addresses, only those that are wanted; `None`: all.
    ///
    /// A namespace that is deleted meanwhile, or has no id yet, is left out: an event follows. What cannot be
    /// read of one namespace is as it was before, and a problem.
    pub fn read(&mut self, wanted: Option<&WantedAddresses>) -> Result<NodeFacts, NetlinkError> {
        let mut reading = Reading {
            client: Client::route()?,
            before: &self.known,
            wanted,
            facts: NodeFacts::default(),
        };
        let host = links(&mut reading.client, None)?;
        let mut all = BTreeMap::new();
        for link in host {
            all.extend(reading.pair(link)?);
        }
        if let Some(wanted) = wanted {
            reading.routes(wanted)?;
            reading.sandboxes(wanted);
        }
        let facts = reading.facts;
        self.known = all;
        Ok(facts)
    }
}

/// One reading.
struct Reading<'a> {
    client: Client,
    before: &'a BTreeMap<Ends, Known>,
    wanted: Option<&'a WantedAddresses>,
    facts: NodeFacts,
}

impl Reading<'_> {
    /// Reads what is behind an interface of the host, if that is a pair.
    fn pair(&mut self, host: HostLink) -> Result<Option<(Ends, Known)>, NetlinkError> {
        let Some((netns_id, index)) = other_end(&host) else {
            return Ok(None);
        };
        let ends = (host.ifindex, netns_id, index);
        let before = self.before.get(&ends).cloned();
        let read = link(&mut self.client, netns_id, index);
        let Some(pod) = self.or_before(&host, read, before.as_ref().map(|known| known.pod.clone()))? else {
            return Ok(None);
        };
        if !names_back(&pod, &host) {
            return Ok(None);
        }
        let before = before.filter(|known| known.pod.mac == pod.mac);
        let before = before.and_then(|known| known.addresses);
        let (addresses, whole) = self.addresses(&host, netns_id, index, before)?;
        let known = Known {
            pod: pod.clone(),
            addresses: whole,
        };
        self.facts.pairs.push(Pair {
            host: end(host),
            pod: end(pod),
            netns_id,
            addresses: addresses.into_iter().collect(),
        });
        Ok(Some((ends, known)))
    }

    /// Returns the addresses to use, and the last that were read as a whole.
    fn addresses(
        &mut self,
        host: &HostLink,
        netns_id: i32,
        index: u32,
        before: Option<BTreeSet<IpAddr>>,
    ) -> Result<(BTreeSet<IpAddr>, Option<BTreeSet<IpAddr>>), NetlinkError> {
        if self.wanted.is_some_and(BTreeMap::is_empty) {
            return Ok((BTreeSet::new(), None));
        }
        let read = addresses(&mut self.client, netns_id, index, self.wanted);
        let lost = Addresses {
            found: BTreeSet::new(),
            listing: Listing::Changing,
        };
        let read = self.or_before(host, read, Some(lost))?;
        let Addresses { found, listing } = read.unwrap_or_default();
        if listing == Listing::Whole {
            return Ok((found.clone(), Some(found)));
        }
        self.facts.problems.push(unread_addresses(host, listing));
        Ok((before.clone().unwrap_or(found), before))
    }

    /// Returns what was read of one namespace. If that failed, what was read before, with a problem; an error
    /// of the socket concerns all namespaces.
    fn or_before<T>(
        &mut self,
        host: &HostLink,
        read: Result<T, NetlinkError>,
        before: Option<T>,
    ) -> Result<Option<T>, NetlinkError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if vanished(&error) => Ok(None),
            Err(error @ NetlinkError::Socket { .. }) => Err(error),
            Err(error) => {
                self.facts.problems.push(unread(host, &error));
                Ok(before)
            }
        }
    }

    /// Asks where the node itself would send packets for the addresses that pairs carry.
    fn routes(&mut self, wanted: &WantedAddresses) -> Result<(), NetlinkError> {
        let pairs = self.facts.pairs.iter();
        let carried: BTreeSet<IpAddr> = pairs.flat_map(|pair| pair.addresses.iter().copied()).collect();
        for address in carried.into_iter().filter(|address| wanted.contains_key(address)) {
            if let Some(interface) = output_interface(&mut self.client, None, address)? {
                self.facts.routes.insert(address, interface);
            }
        }
        Ok(())
    }

    /// Looks for the processes of pods whose address is in doubt otherwise.
    fn sandboxes(&mut self, wanted: &WantedAddresses) {
        let contested = self.facts.contested(wanted);
        let uids: BTreeSet<&str> = contested
            .values()
            .flat_map(|claims| claims.iter().map(String::as_str))
            .filter(|uid| !uid.is_empty())
            .collect();
        if !uids.is_empty() {
            self.facts.sandboxes = sandboxes(&mut self.client, &uids);
        }
    }
}

/// `rtnl_get_net_ns_capable` (net/core/rtnetlink.c, Linux 5.0 and later) answers EINVAL for an id without a
/// namespace, and the kernel ENODEV for an index without an interface.
fn vanished(error: &NetlinkError) -> bool {
    matches!(error, NetlinkError::Refused { .. })
        && matches!(error.errno(), Some(libc::EINVAL | libc::ENODEV))
}

/// Returns the namespace and the index of an interface's other end, if that is in another namespace.
fn other_end(link: &HostLink) -> Option<(i32, u32)> {
    let netns_id = link.link_netns.filter(|id| *id >= 0)?;
    Some((netns_id, link.link?))
}

/// Returns whether both interfaces name each other: the id of a deleted namespace can already name a new one.
fn names_back(pod: &HostLink, host: &HostLink) -> bool {
    Some(pod.ifindex) == host.link && pod.link == Some(host.ifindex) && pod.link_netns.is_some()
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

fn unread(host: &HostLink, error: &NetlinkError) -> Problem {
    let remedy = "the agent asks again by itself; what is known of this pod stays programmed";
    let object = format!("interface {}", host.name);
    let message = format!("what is behind it cannot be read: {}", error_chain(error));
    Problem::new(object, "PodUnreadable", message, remedy)
}

fn unread_addresses(host: &HostLink, listing: Listing) -> Problem {
    let message = match listing {
        Listing::Cut => "the interface behind it carries too many addresses to read them all",
        Listing::Changing | Listing::Whole => {
            "the addresses of the interface behind it change faster than they can be read"
        }
    };
    let remedy = "find out what changes them in that pod; other pods are not concerned, and of this one the \
                  addresses that were read before stay programmed";
    Problem::new(
        format!("interface {}", host.name),
        "AddressesUnreadable",
        message,
        remedy,
    )
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

    #[test]
    fn two_interfaces_that_name_each_other_are_a_pair_of_any_kind() {
        let (host, pod) = (link(7, 2, 4), link(2, 7, 0));
        assert_eq!(other_end(&host), Some((4, 2)));
        assert!(names_back(&pod, &host));
    }

    #[test]
    fn an_interface_that_is_not_named_back_has_no_pair() {
        let host = link(7, 2, 4);
        assert!(!names_back(&link(2, 8, 0), &host), "names another one");
        assert!(!names_back(&link(3, 7, 0), &host), "is another one");
        let inside = HostLink {
            link_netns: None,
            ..link(2, 7, 0)
        };
        assert!(!names_back(&inside, &host), "names one of its own namespace");
    }

    #[test]
    fn a_namespace_without_an_id_has_no_pairs() {
        assert_eq!(other_end(&link(7, 2, -1)), None);
    }
}
