//! A policy's rules as entries.

use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use xdp_core::tables::{Action, Address, Entry};

use super::{DesiredEntry, address};
use crate::installed::RuleLabel;
use crate::policy::{Enforcement, Peer, Policy, PortMatch, Protocol, Rule};

/// Number of entries that rules take.
pub(crate) fn needed(rules: &[Rule]) -> usize {
    rules
        .iter()
        .map(|rule| {
            let excepts: usize = rule.peers.iter().map(|peer| excepts(peer).count()).sum();
            excepts + rule.peers.len().max(1) * rule.ports.len().max(1)
        })
        .sum()
}

/// The entries of a policy, in order.
pub(super) fn entries(policy: &Policy, ready: bool) -> Vec<DesiredEntry> {
    let mut list = Vec::with_capacity(needed(&policy.rules));
    for rule in &policy.rules {
        let label = Arc::new(RuleLabel {
            namespace: policy.namespace.clone(),
            policy: policy.name.clone(),
            rule: rule.name.clone(),
        });
        let plain = plain(rule, policy.enforcement, ready);
        let entries = if rule.peers.is_empty() {
            with_ports(plain, &rule.ports)
        } else {
            let peers = rule.peers.iter();
            peers
                .flat_map(|peer| peer_entries(plain, peer, &rule.ports))
                .collect()
        };
        list.extend(entries.into_iter().map(|entry| DesiredEntry {
            entry,
            rule: Arc::clone(&label),
        }));
    }
    list
}

/// What all deciding entries of a rule have in common.
fn plain(rule: &Rule, enforcement: Enforcement, ready: bool) -> Entry {
    let audit = enforcement == Enforcement::Audit;
    let mut flags = 0;
    if audit {
        flags |= Entry::AUDIT;
    } else if rule.action == Action::Redirect && !ready {
        flags |= Entry::NOT_READY;
    }
    if rule.mark.is_some() {
        flags |= Entry::MARK;
    }
    Entry {
        mark: rule.mark.unwrap_or_default(),
        action: rule.action as u8,
        flags,
        ..Entry::default()
    }
}

fn peer_entries(plain: Entry, peer: &Peer, ports: &[PortMatch]) -> Vec<Entry> {
    let excepts = excepts(peer).map(|net| Entry {
        flags: Entry::EXCEPT,
        ..in_network(Entry::default(), net)
    });
    let mut list: Vec<Entry> = excepts.collect();
    list.extend(with_ports(in_network(plain, peer.cidr), ports));
    if let Some(last) = list.last_mut() {
        last.flags |= Entry::PEER_END;
    }
    list
}

/// IPv4 addresses are IPv4-mapped in the tables, so an IPv6 network as wide as `::/0` must leave them out.
fn excepts(peer: &Peer) -> impl Iterator<Item = IpNet> {
    let all_v4 = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);
    let covers_v4 =
        matches!(peer.cidr, IpNet::V6(net) if net.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()));
    covers_v4
        .then_some(IpNet::V4(all_v4))
        .into_iter()
        .chain(peer.except.iter().copied())
}

fn in_network(entry: Entry, net: IpNet) -> Entry {
    let prefix_len = match net {
        IpNet::V4(net) => net.prefix_len() + 96,
        IpNet::V6(net) => net.prefix_len(),
    };
    Entry {
        source: address(net.network()),
        mask: Address::mask(prefix_len),
        ..entry
    }
}

fn with_ports(entry: Entry, ports: &[PortMatch]) -> Vec<Entry> {
    if ports.is_empty() {
        return vec![entry];
    }
    ports.iter().map(|port| with_port(entry, port)).collect()
}

fn with_port(entry: Entry, port: &PortMatch) -> Entry {
    let range = port.ports.as_ref();
    let ports = if range.is_some() { Entry::PORTS } else { 0 };
    Entry {
        protocol: match port.protocol {
            Protocol::Icmp => 1,
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Icmpv6 => 58,
            Protocol::Sctp => 132,
        },
        port_first: range.map_or(0, |range| *range.start()),
        port_last: range.map_or(0, |range| *range.end()),
        flags: entry.flags | Entry::PROTOCOL | ports,
        ..entry
    }
}
