//! Finds veth pairs and netkit pairs that reach from this namespace into another one, and the addresses that
//! they carry.
//!
//! What is inside a pod's namespace is the pod's to change, without any limit. So nothing there is listed as
//! a whole: each pair's end is asked for by its index, the addresses only of that interface, up to a number,
//! and what one namespace cannot be read for stays as it was read last.

mod pairs;
mod problems;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use xdp_plan::{
    facts::{NodeFacts, Pair, WantedAddresses},
    nics::HostLink,
};

use self::{
    pairs::{end, names_back, other_end},
    problems::{unread, unread_addresses, vanished},
};
use crate::node::{
    netlink::{
        NetlinkError,
        address::{Addresses, addresses},
        client::Client,
        link::{link, links},
        reply::Listing,
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
