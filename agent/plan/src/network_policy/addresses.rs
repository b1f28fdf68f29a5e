//! Sets of addresses that policies are evaluated against.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use xdp_crds::{pod::Pod, policy::SetId};

use crate::{
    compile::sources::{Interval, Set},
    policy::Block,
};

/// A set of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet(Set);

/// The sets of pods' addresses that are complete, by the selection of the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSets(BTreeMap<SetId, Arc<AddressSet>>);

/// The addresses of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterAddresses {
    /// Addresses that pods have, or may have: the nodes' `podCIDRs`, the addresses of all pods, and what the
    /// administrator adds. An `ipBlock` means addresses outside of them for certain.
    pub ranges: AddressSet,
    /// All addresses of all nodes. They are also those of pods in the host's network, and of masqueraded
    /// sources.
    pub nodes: AddressSet,
    /// Addresses that more than one pod claims.
    pub disputed: AddressSet,
}

impl ClusterAddresses {
    /// Returns what is assumed without a cluster: other pods are in the networks around the given ones.
    pub fn around(pods: &[Arc<Pod>]) -> Self {
        let addresses = pods.iter().flat_map(|pod| &pod.addresses);
        let network = |address: &IpAddr| {
            let network = match address.to_canonical() {
                IpAddr::V4(address) => Ipv4Net::new(address, 24).map(IpNet::from),
                IpAddr::V6(address) => Ipv6Net::new(address, 64).map(IpNet::from),
            };
            network.ok().map(|network| network.trunc())
        };
        Self {
            ranges: addresses.filter_map(network).collect(),
            ..Self::default()
        }
    }
}

impl AddressSet {
    /// Returns whether the set has the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (list, address): (&[Interval], u128) = match address.to_canonical() {
            IpAddr::V4(address) => (&self.0.v4, u32::from(address).into()),
            IpAddr::V6(address) => (&self.0.v6, address.into()),
        };
        let after = list.partition_point(|(first, _)| *first <= address);
        list[..after].last().is_some_and(|(_, last)| address <= *last)
    }

    /// Creates the set of a network without its exceptions.
    pub(super) fn of_block(block: &Block) -> Self {
        Self(Set::of_blocks(std::iter::once(block)))
    }

    /// Returns the intervals of IPv4, and those of IPv6.
    pub(super) fn intervals(&self) -> [&[Interval]; 2] {
        [&self.0.v4, &self.0.v6]
    }
}

impl FromIterator<IpNet> for AddressSet {
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        let block = |cidr: IpNet| Block {
            cidr,
            except: Vec::new(),
        };
        let blocks: Vec<Block> = networks.into_iter().map(block).collect();
        Self(Set::of_blocks(blocks.iter()))
    }
}

impl FromIterator<IpAddr> for AddressSet {
    fn from_iter<T: IntoIterator<Item = IpAddr>>(addresses: T) -> Self {
        let networks = addresses
            .into_iter()
            .map(|address| IpNet::from(address.to_canonical()));
        networks.collect()
    }
}

impl AddressSets {
    /// Adds a set that is complete.
    pub(super) fn insert(&mut self, id: SetId, set: AddressSet) {
        self.0.insert(id, Arc::new(set));
    }

    /// Removes a set.
    pub(super) fn remove(&mut self, id: &SetId) {
        self.0.remove(id);
    }

    /// Returns a set, or `None` while a part of it is missing.
    pub(super) fn get(&self, set: &SetId) -> Option<&Arc<AddressSet>> {
        self.0.get(set)
    }
}

impl FromIterator<(SetId, AddressSet)> for AddressSets {
    fn from_iter<T: IntoIterator<Item = (SetId, AddressSet)>>(sets: T) -> Self {
        Self(sets.into_iter().map(|(id, set)| (id, Arc::new(set))).collect())
    }
}
