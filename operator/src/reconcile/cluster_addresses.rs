//! The addresses of the cluster itself: what `NetworkPolicy` means by them, engines do not agree about.

mod ranges;

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use ranges::{Ranges, neighbours};
use xdp_crds::network_policy::ClusterSet;

use crate::store::{NodeInfo, PodFacts};

/// The addresses of pods and nodes.
#[derive(Debug, Default)]
pub(super) struct ClusterAddresses {
    /// Networks that the administrator adds.
    configured: Vec<IpNet>,
    /// The number of pods by address.
    claims: BTreeMap<IpAddr, u32>,
    nodes: BTreeMap<String, OfNode>,
    /// `podCIDRs` and what the administrator adds.
    known: Ranges,
    /// The number of pods outside of these, by the networks with their neighbours.
    strays: BTreeMap<IpNet, u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OfNode {
    addresses: Vec<IpAddr>,
    cidrs: Vec<IpNet>,
}

/// What a change changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AddressChange {
    /// Addresses that leave the set, and those that come.
    pub(super) moved: (Vec<IpAddr>, Vec<IpAddr>),
    /// Whether [`ClusterAddresses::networks`] may have changed.
    pub(super) networks: bool,
}

impl ClusterAddresses {
    pub(super) fn new(configured: Vec<IpNet>) -> Self {
        Self {
            known: Ranges::new(configured.iter().copied()),
            configured,
            ..Self::default()
        }
    }

    /// Returns what a set has.
    pub(super) fn content(&self, set: ClusterSet) -> (Vec<IpAddr>, Vec<IpNet>) {
        match set {
            ClusterSet::Ranges => (Vec::new(), self.networks()),
            ClusterSet::Nodes => {
                let addresses = self
                    .nodes
                    .values()
                    .flat_map(|node| node.addresses.iter().copied());
                (addresses.collect(), Vec::new())
            }
            ClusterSet::Disputed => {
                let disputed = self.claims.iter().filter(|(_, pods)| **pods > 1);
                (disputed.map(|(address, _)| *address).collect(), Vec::new())
            }
        }
    }

    /// Returns the networks with the addresses that pods have, or may have.
    pub(super) fn networks(&self) -> Vec<IpNet> {
        self.known.with(self.strays.keys().copied())
    }

    /// Follows a pod. The addresses that move are those that several pods claim.
    pub(super) fn pod_changed(
        &mut self,
        before: Option<&PodFacts>,
        after: Option<&PodFacts>,
    ) -> AddressChange {
        let mut change = AddressChange::default();
        let of = |pod: Option<&PodFacts>| pod.map(|pod| pod.addresses.clone()).unwrap_or_default();
        let (before, after) = (of(before), of(after));
        for gone in before.iter().filter(|address| !after.contains(address)) {
            change.networks |= self.release(*gone, &mut change.moved.0);
        }
        for new in after.iter().filter(|address| !before.contains(address)) {
            let claims = self.claims.entry(*new).or_default();
            *claims += 1;
            match *claims {
                1 => change.networks |= self.count_stray(*new),
                2 => change.moved.1.push(*new),
                _ => {}
            }
        }
        change
    }

    fn release(&mut self, address: IpAddr, undisputed: &mut Vec<IpAddr>) -> bool {
        let Some(claims) = self.claims.get_mut(&address) else {
            return false;
        };
        *claims -= 1;
        match *claims {
            0 => {
                self.claims.remove(&address);
                self.discount_stray(address)
            }
            1 => {
                undisputed.push(address);
                false
            }
            _ => false,
        }
    }

    /// Follows a node. The addresses that move are the node's.
    pub(super) fn node_changed(&mut self, name: &str, after: Option<&NodeInfo>) -> AddressChange {
        let after = after.map(|node| OfNode {
            addresses: node.addresses.clone(),
            cidrs: node.pod_cidrs.clone(),
        });
        let before = match after.clone() {
            Some(after) => self.nodes.insert(name.to_owned(), after),
            None => self.nodes.remove(name),
        };
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        let networks = before.cidrs != after.cidrs;
        if networks {
            self.learn_cidrs();
        }
        AddressChange {
            moved: (before.addresses, after.addresses),
            networks,
        }
    }

    fn learn_cidrs(&mut self) {
        let cidrs = self.nodes.values().flat_map(|node| node.cidrs.iter().copied());
        self.known = Ranges::new(cidrs.chain(self.configured.iter().copied()));
        self.strays.clear();
        let strays = self
            .claims
            .keys()
            .filter(|address| !self.known.contains(**address));
        for address in strays {
            *self.strays.entry(neighbours(*address)).or_default() += 1;
        }
    }

    /// Counts an address outside of the known ranges. Returns whether its network is new.
    fn count_stray(&mut self, address: IpAddr) -> bool {
        if self.known.contains(address) {
            return false;
        }
        let count = self.strays.entry(neighbours(address)).or_default();
        *count += 1;
        *count == 1
    }

    fn discount_stray(&mut self, address: IpAddr) -> bool {
        let network = neighbours(address);
        if self.known.contains(address) {
            return false;
        }
        let Some(count) = self.strays.get_mut(&network) else {
            return false;
        };
        *count -= 1;
        let is_last = *count == 0;
        if is_last {
            self.strays.remove(&network);
        }
        is_last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LabelPool;

    fn pod(ip: &str) -> PodFacts {
        PodFacts {
            labels: LabelPool::default().labels(&BTreeMap::new()),
            addresses: [ip.parse().unwrap()].into(),
            node: "a".into(),
        }
    }

    fn node(address: &str, cidr: &str) -> NodeInfo {
        NodeInfo {
            addresses: vec![address.parse().unwrap()],
            pod_cidrs: vec![cidr.parse().unwrap()],
            ..NodeInfo::default()
        }
    }

    fn networks(addresses: &ClusterAddresses) -> Vec<String> {
        addresses.networks().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pod_outside_of_all_ranges_adds_its_neighbours_as_long_as_it_is_there() {
        let mut addresses = ClusterAddresses::new(vec!["172.16.0.0/12".parse().unwrap()]);
        assert!(addresses.pod_changed(None, Some(&pod("192.0.2.7"))).networks);
        assert!(!addresses.pod_changed(None, Some(&pod("192.0.2.8"))).networks);
        assert!(!addresses.pod_changed(None, Some(&pod("172.16.0.9"))).networks);
        assert_eq!(networks(&addresses), ["172.16.0.0/12", "192.0.2.0/24"]);
        assert!(!addresses.pod_changed(Some(&pod("192.0.2.7")), None).networks);
        assert!(addresses.pod_changed(Some(&pod("192.0.2.8")), None).networks);
        assert_eq!(networks(&addresses), ["172.16.0.0/12"]);
    }

    #[test]
    fn pods_inside_the_cidrs_of_nodes_are_no_strays_whichever_comes_first() {
        let mut addresses = ClusterAddresses::default();
        addresses.pod_changed(None, Some(&pod("10.1.2.3")));
        assert_eq!(networks(&addresses), ["10.1.2.0/24"]);
        let change = addresses.node_changed("a", Some(&node("192.0.2.1", "10.1.0.0/16")));
        let own: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!((change.moved, change.networks), ((vec![], vec![own]), true));
        assert_eq!(networks(&addresses), ["10.1.0.0/16"]);
        assert_eq!(addresses.content(ClusterSet::Nodes).0, [own]);
        let change = addresses.node_changed("a", None);
        assert_eq!((change.moved, change.networks), ((vec![own], vec![]), true));
        assert_eq!(networks(&addresses), ["10.1.2.0/24"]);
        // A node's heartbeat moves nothing.
        addresses.node_changed("a", Some(&node("192.0.2.1", "10.1.0.0/16")));
        let change = addresses.node_changed("a", Some(&node("192.0.2.1", "10.1.0.0/16")));
        assert!(!change.networks);
    }

    #[test]
    fn an_address_is_disputed_while_two_pods_claim_it() {
        let mut addresses = ClusterAddresses::default();
        let ip: IpAddr = "10.1.2.3".parse().unwrap();
        let (one, other) = (pod("10.1.2.3"), pod("10.1.2.4"));
        let mut moved = |before, after| addresses.pod_changed(before, after).moved;
        assert_eq!(moved(None, Some(&one)), (vec![], vec![]));
        assert_eq!(moved(None, Some(&one)), (vec![], vec![ip]));
        assert_eq!(moved(None, Some(&one)), (vec![], vec![]));
        assert_eq!(moved(Some(&one), None), (vec![], vec![]));
        assert_eq!(moved(Some(&one), Some(&other)), (vec![ip], vec![]));
    }
}
