//! A policy's rules as entries.

use std::sync::Arc;

use ipnet::IpNet;
use xdp_core::tables::{Action, Address, Entry};

use super::{DesiredEntry, address};
use crate::installed::RuleLabel;
use crate::policy::{
    Block, Enforcement, Peer, Policy, PortMatch, Protocol, Rule, RuleAction, Sources, entries_needed,
};

/// The entries of a policy, in order.
pub(super) fn entries(policy: &Policy, ready: bool) -> Vec<DesiredEntry> {
    let mut list = Vec::with_capacity(entries_needed(&policy.rules));
    for rule in &policy.rules {
        let label = Arc::new(RuleLabel {
            namespace: policy.namespace.clone(),
            policy: policy.name.clone(),
            rule: rule.name.clone(),
        });
        let plain = plain(rule, policy.enforcement, ready);
        let entries = match &rule.from {
            Sources::Any => with_ports(plain, &rule.ports),
            Sources::Peers(peers) => blocks(peers)
                .flat_map(|block| block_entries(plain, block, &rule.ports))
                .collect(),
        };
        list.extend(entries.into_iter().map(|entry| DesiredEntry {
            entry,
            rule: Arc::clone(&label),
        }));
    }
    list
}

/// Pods among the sources have become blocks before; any that are left match nothing.
fn blocks(peers: &[Peer]) -> impl Iterator<Item = &Block> {
    peers.iter().filter_map(|peer| match peer {
        Peer::Block(block) => Some(block),
        Peer::Pods(_) => None,
    })
}

/// What all deciding entries of a rule have in common.
fn plain(rule: &Rule, enforcement: Enforcement, ready: bool) -> Entry {
    let audit = enforcement == Enforcement::Audit;
    let mut flags = 0;
    if audit {
        flags |= Entry::AUDIT;
    } else if rule.action == RuleAction::Redirect && !ready {
        flags |= Entry::NOT_READY;
    }
    if rule.mark.is_some() {
        flags |= Entry::MARK;
    }
    Entry {
        mark: rule.mark.unwrap_or_default(),
        action: action(rule.action) as u8,
        flags,
        ..Entry::default()
    }
}

const fn action(action: RuleAction) -> Action {
    match action {
        RuleAction::Redirect => Action::Redirect,
        RuleAction::Pass => Action::Pass,
        RuleAction::Drop => Action::Drop,
    }
}

fn block_entries(plain: Entry, block: &Block, ports: &[PortMatch]) -> Vec<Entry> {
    let excepts = block.left_out().map(|net| Entry {
        flags: Entry::EXCEPT,
        ..in_network(Entry::default(), net)
    });
    let mut list: Vec<Entry> = excepts.collect();
    list.extend(with_ports(in_network(plain, block.cidr), ports));
    if let Some(last) = list.last_mut() {
        last.flags |= Entry::PEER_END;
    }
    list
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
