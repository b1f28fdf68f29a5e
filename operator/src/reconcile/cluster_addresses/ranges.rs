//! Networks with the addresses of pods.

use std::net::IpAddr;

use ipnet::IpNet;
use xdp_crds::limits::ADDRESSES;

/// The most networks that are written: they fit in one object.
const MOST: usize = ADDRESSES;

/// Networks that do not overlap.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    /// In order.
    networks: Vec<IpNet>,
}

impl Ranges {
    pub(super) fn new(networks: impl Iterator<Item = IpNet>) -> Self {
        Self {
            networks: aggregated(&networks.collect::<Vec<_>>()),
        }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let after = self
            .networks
            .partition_point(|network| network.network() <= address);
        let before = self.networks[..after].last();
        before.is_some_and(|network| network.contains(&address))
    }

    /// Returns these networks and others, at most [`MOST`]. If there are more, prefixes are shortened, the
    /// longest first: an address that is in no pod is only taken for one of the cluster.
    pub(super) fn with(&self, others: impl Iterator<Item = IpNet>) -> Vec<IpNet> {
        let all: Vec<IpNet> = self.networks.iter().copied().chain(others).collect();
        let mut networks = aggregated(&all);
        while networks.len() > MOST {
            let longest = networks.iter().map(IpNet::prefix_len).max().unwrap_or_default();
            for network in &mut networks {
                if network.prefix_len() == longest {
                    *network = network.supernet().unwrap_or(*network);
                }
            }
            networks = aggregated(&networks);
        }
        networks
    }
}

fn aggregated(networks: &[IpNet]) -> Vec<IpNet> {
    let mut networks = IpNet::aggregate(&networks.to_vec());
    networks.sort_unstable();
    networks
}

/// Returns the network of an address and its neighbours: a pod outside of the nodes' `podCIDRs` seldom is the
/// only one there, and the network stays when the pod goes.
pub(super) fn neighbours(address: IpAddr) -> IpNet {
    let prefix = if address.is_ipv4() { 24 } else { 64 };
    let network = IpNet::new_assert(address, prefix);
    network.trunc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn adjacent_and_nested_networks_are_one() {
        let known =
            Ranges::new(networks(&["10.1.1.0/24", "10.1.0.0/24", "10.1.0.128/25", "fd00::/64"]).into_iter());
        assert_eq!(
            known.with(std::iter::empty()),
            networks(&["10.1.0.0/23", "fd00::/64"])
        );
        for (address, is_inside) in [
            ("10.1.0.0", true),
            ("10.1.1.255", true),
            ("10.1.2.0", false),
            ("10.0.255.255", false),
            ("fd00::1", true),
            ("fd00:0:0:1::", false),
        ] {
            assert_eq!(known.contains(address.parse().unwrap()), is_inside, "{address}");
        }
    }

    #[test]
    fn an_address_stands_for_its_neighbours() {
        assert_eq!(
            neighbours("192.0.2.77".parse().unwrap()),
            "192.0.2.0/24".parse().unwrap()
        );
        assert_eq!(
            neighbours("2001:db8::7".parse().unwrap()),
            "2001:db8::/64".parse().unwrap()
        );
    }

    #[test]
    fn more_networks_than_one_object_has_are_fewer_and_larger_ones() {
        let scattered = (0..5000_u32)
            .map(|number| IpNet::new_assert(IpAddr::from(std::net::Ipv4Addr::from(number << 9)), 24));
        let scattered: Vec<IpNet> = scattered
            .chain(networks(&["fd00:1::/64", "10.0.0.0/8"]))
            .collect();
        let written = Ranges::default().with(scattered.iter().copied());
        assert!(written.len() <= MOST, "{}", written.len());
        let is_inside = |network: &IpNet| written.iter().any(|larger| larger.contains(network));
        assert!(scattered.iter().all(is_inside));
    }
}
