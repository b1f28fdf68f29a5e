//! How much of a pod's list a policy takes.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use super::{Block, Peer, Rule, Sources};

/// Entries that rules take in the list of a pod. Pods as sources take theirs once their addresses are known.
pub fn entries_needed(rules: &[Rule]) -> usize {
    rules.iter().map(of_rule).sum()
}

fn of_rule(rule: &Rule) -> usize {
    let ports = rule.ports.len().max(1);
    match &rule.from {
        Sources::Any => ports,
        Sources::Peers(peers) => peers.iter().map(|peer| of_peer(peer, ports)).sum(),
    }
}

fn of_peer(peer: &Peer, ports: usize) -> usize {
    match peer {
        Peer::Block(block) => block.left_out().count() + ports,
        Peer::Pods(_) => 0,
    }
}

impl Block {
    /// What is left out, as the tables see it: IPv4 addresses are IPv4-mapped there, so an IPv6 network as wide as
    /// `::/0` must leave them out.
    pub fn left_out(&self) -> impl Iterator<Item = IpNet> {
        let all_v4 = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);
        let covers_v4 =
            matches!(self.cidr, IpNet::V6(net) if net.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()));
        covers_v4
            .then_some(IpNet::V4(all_v4))
            .into_iter()
            .chain(self.except.iter().copied())
    }
}
