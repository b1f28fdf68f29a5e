//! Numbers the address sets that the rules about a pod refer to, each once.

use std::{collections::BTreeMap, sync::Arc};

use xdp_crds::network_policy::{PolicyPeer, PolicySources};

use super::{AddressSet, AddressSets, ClusterAddresses, NotCertainReason};

/// The number of the ranges of the cluster.
pub(super) const CLUSTER: u32 = 0;
/// The number of the nodes' addresses.
pub(super) const NODES: u32 = 1;
/// The number of the addresses that more than one pod claims.
pub(super) const DISPUTED: u32 = 2;

/// Whether a rule, or a part of it, matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Match {
    No,
    Maybe(NotCertainReason),
    Yes,
}

/// The sources of a rule.
#[derive(Clone, Debug)]
pub(super) enum FromTest {
    Any,
    Listed(Vec<PeerTest>),
}

/// A peer of a rule, by the number of its set.
#[derive(Clone, Copy, Debug)]
pub(super) enum PeerTest {
    Pods(u32),
    Block(u32),
    Maybe(NotCertainReason),
}

/// The sets by number.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    pub(super) sets: Vec<Arc<AddressSet>>,
}

/// Adds sets, unless they are there.
pub(super) struct Numbering<'a> {
    known: &'a AddressSets,
    numbers: BTreeMap<String, u32>,
    lists: Lists,
}

impl FromTest {
    /// Returns whether the sources include an address that is in the sets for which `has` returns true.
    pub(super) fn matches(&self, has: impl Fn(u32) -> bool) -> Match {
        let Self::Listed(peers) = self else {
            return Match::Yes;
        };
        let peer = |peer: &PeerTest| match *peer {
            PeerTest::Pods(set) if has(set) => Match::Yes,
            PeerTest::Block(set) if has(set) && has(CLUSTER) => {
                Match::Maybe(NotCertainReason::BlockInCluster)
            }
            PeerTest::Block(set) if has(set) => Match::Yes,
            PeerTest::Pods(_) | PeerTest::Block(_) => Match::No,
            PeerTest::Maybe(reason) => Match::Maybe(reason),
        };
        peers.iter().map(peer).max().unwrap_or(Match::No)
    }

    /// Returns the number of peers.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Any => 0,
            Self::Listed(peers) => peers.len(),
        }
    }

    /// Returns the sets of which an address is in one if the sources include it. `None`: it need not be in
    /// any.
    pub(super) fn sets(&self) -> Option<Vec<u32>> {
        let Self::Listed(peers) = self else {
            return None;
        };
        let set = |peer: &PeerTest| match *peer {
            PeerTest::Pods(set) | PeerTest::Block(set) => Some(set),
            PeerTest::Maybe(_) => None,
        };
        peers.iter().map(set).collect()
    }
}

impl<'a> Numbering<'a> {
    pub(super) fn new(cluster: &ClusterAddresses, known: &'a AddressSets) -> Self {
        let fixed = [&cluster.ranges, &cluster.nodes, &cluster.disputed];
        Self {
            known,
            numbers: BTreeMap::new(),
            lists: Lists {
                sets: fixed.map(|set| Arc::new(set.clone())).into(),
            },
        }
    }

    pub(super) fn sources(&mut self, from: &PolicySources) -> FromTest {
        match from {
            PolicySources::Any => FromTest::Any,
            PolicySources::Listed(peers) => {
                FromTest::Listed(peers.iter().map(|peer| self.peer(peer)).collect())
            }
        }
    }

    pub(super) fn finish(self) -> Lists {
        self.lists
    }

    fn peer(&mut self, peer: &PolicyPeer) -> PeerTest {
        match peer {
            PolicyPeer::Unreadable => PeerTest::Maybe(NotCertainReason::Unreadable),
            PolicyPeer::Pods { set, .. } => match self.known.get(set) {
                Some(addresses) => PeerTest::Pods(self.number(set.to_string(), || Arc::clone(addresses))),
                None => PeerTest::Maybe(NotCertainReason::AddressesPending),
            },
            PolicyPeer::Block(block) => {
                let name = format!("{} {:?}", block.cidr, block.except);
                PeerTest::Block(self.number(name, || Arc::new(AddressSet::of_block(block))))
            }
        }
    }

    fn number(&mut self, name: String, set: impl FnOnce() -> Arc<AddressSet>) -> u32 {
        let sets = &mut self.lists.sets;
        *self.numbers.entry(name).or_insert_with(|| {
            sets.push(set());
            sets.len() as u32 - 1
        })
    }
}
