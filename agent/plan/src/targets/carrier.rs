//! Decides which of several interfaces carries an address for its pod.
//!
//! A process that may change interfaces inside a pod can give them any address, also another pod's. So an
//! address on an interface is a claim. Where several interfaces make it, these decide, in this order:
//!
//! 1. the node's own route to the address: the stack delivers where it leads;
//! 2. the pod's sandbox: the network namespace of its processes;
//! 3. the tables: what is programmed stays so;
//! 4. the state of the interfaces: the only one that is up.
//!
//! Behind a bridge the route leads to the bridge and decides nothing. Neighbour entries and the bridge's own
//! table do not count: the pods behind the bridge write them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    facts::{NodeFacts, NotReady, Pair},
    installed::{Installed, SlotIdentity},
    pod::Pod,
};

/// Which pods and interfaces the installed tables have for each address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders(BTreeMap<IpAddr, Vec<Holder>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    identity: SlotIdentity,
    /// The address was in doubt already, so the tables prove nothing.
    in_doubt: bool,
}

impl Holders {
    /// Collects the holders from the installed tables.
    pub fn new(installed: &Installed) -> Self {
        let mut holders = BTreeMap::<_, Vec<_>>::new();
        for label in installed.pods.values() {
            for address in &label.addresses {
                holders.entry(*address).or_default().push(Holder {
                    identity: label.identity.clone(),
                    in_doubt: label.readiness.obstacle() == Some(NotReady::AddressInDoubt),
                });
            }
        }
        Self(holders)
    }

    /// Lists the addresses with a holder.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.0.keys().copied()
    }

    fn of(&self, pod: &Pod, address: IpAddr) -> impl Iterator<Item = &Holder> {
        let holders = self.0.get(&address).into_iter().flatten();
        holders.filter(|holder| {
            let identity = &holder.identity;
            (&identity.namespace, &identity.pod, &identity.uid) == (&pod.namespace, &pod.name, &pod.uid)
        })
    }

    fn has(&self, pod: &Pod, address: IpAddr, pair: &Pair, in_doubt: bool) -> bool {
        let mut holders = self.of(pod, address).filter(|holder| holder.in_doubt == in_doubt);
        holders.any(|holder| holder.identity.ifindex == pair.host.ifindex)
    }
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    /// No other interface carries the address.
    Alone,
    Route,
    Sandbox,
    Tables,
    Up,
    /// Nothing did: the address is in doubt.
    Nothing,
}

impl Witness {
    /// Returns the end of a sentence about the interface.
    pub(super) const fn because(self) -> &'static str {
        match self {
            Self::Alone => "no other interface carries it",
            Self::Route => "the node's route leads there",
            Self::Sandbox => "the pod's processes are there",
            Self::Tables => "it was programmed there before",
            Self::Up => "the others are down",
            Self::Nothing => "nothing tells whose it is",
        }
    }
}

/// Everything that is known about addresses.
pub(super) struct Evidence<'a> {
    facts: &'a NodeFacts,
    holders: &'a Holders,
    /// The host's ends of all pairs.
    hosts: BTreeSet<u32>,
}

impl<'a> Evidence<'a> {
    pub(super) fn new(facts: &'a NodeFacts, holders: &'a Holders) -> Self {
        let hosts = facts.pairs.iter().map(|pair| pair.host.ifindex).collect();
        Self {
            facts,
            holders,
            hosts,
        }
    }

    /// Decides which of the pairs that carry the address is the pod's. `None`: there is no pair.
    pub(super) fn carrier<'p>(
        &self,
        pod: &Pod,
        address: IpAddr,
        pairs: &[&'p Pair],
    ) -> Option<(&'p Pair, Witness)> {
        if let [alone] = pairs
            && (self.route_allows(address, alone) || self.holders.has(pod, address, alone, false))
        {
            return Some((*alone, Witness::Alone));
        }
        let route = self.facts.routes.get(&address);
        let routed = |pair: &Pair| route == Some(&pair.host.ifindex);
        let held = |pair: &Pair| self.holders.has(pod, address, pair, false);
        let up = |pair: &Pair| pair.host.up && pair.pod.up;
        let several = pairs.len() > 1;
        only(pairs, routed)
            .map(|pair| (pair, Witness::Route))
            .or_else(|| Some((only(pairs, |pair| self.runs_in(pod, pair))?, Witness::Sandbox)))
            .or_else(|| Some((only(pairs, held)?, Witness::Tables)))
            .or_else(|| Some((only(pairs, up).filter(|_| several)?, Witness::Up)))
            .or_else(|| Some((self.least_bad(pod, address, pairs)?, Witness::Nothing)))
    }

    /// Returns whether the address of two pods is this one's: its processes are behind the interface and the
    /// other's are not, or it is programmed so.
    pub(super) fn prefers(&self, pod: &Pod, others: &[&Pod], address: IpAddr, pair: &Pair) -> bool {
        match (
            self.runs_in(pod, pair),
            others.iter().any(|other| self.runs_in(other, pair)),
        ) {
            (true, false) => true,
            (false, true) => false,
            _ => self.holders.has(pod, address, pair, false),
        }
    }

    /// The stack would not deliver to an interface while its route leads to another pair's.
    fn route_allows(&self, address: IpAddr, pair: &Pair) -> bool {
        let route = self.facts.routes.get(&address);
        route.is_none_or(|route| *route == pair.host.ifindex || !self.hosts.contains(route))
    }

    fn runs_in(&self, pod: &Pod, pair: &Pair) -> bool {
        let sandboxes = self.facts.sandboxes.get(&pod.uid);
        sandboxes.is_some_and(|namespaces| namespaces.contains(&pair.netns_id))
    }

    /// Rules that need no interface apply to an address in doubt, too. The pair only names them, and does not
    /// change while it carries the address.
    fn least_bad<'p>(&self, pod: &Pod, address: IpAddr, pairs: &[&'p Pair]) -> Option<&'p Pair> {
        let before = |pair: &&&Pair| self.holders.has(pod, address, pair, true);
        let first = || pairs.iter().min_by_key(|pair| pair.host.ifindex);
        pairs.iter().find(before).or_else(first).copied()
    }
}

/// Returns the only pair that fits.
fn only<'p>(pairs: &[&'p Pair], fits: impl Fn(&Pair) -> bool) -> Option<&'p Pair> {
    let mut fitting = pairs.iter().filter(|pair| fits(pair));
    let first = fitting.next()?;
    fitting.next().is_none().then_some(*first)
}
