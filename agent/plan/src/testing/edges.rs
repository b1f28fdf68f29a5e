//! Packets at the edges: just before, at and just after every bound in policies and in compiled rules.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use xdp_core::tables::Ports;
use xdp_crds::{IntOrString, XdpPolicy};

use super::packets::PacketSpec;
use crate::compile::Compiled;

/// Addresses and ports at a bound, and the first and the last of each.
#[derive(Clone, Debug)]
pub struct Edges {
    /// IPv4 sources.
    pub v4: BTreeSet<u32>,
    /// IPv6 sources.
    pub v6: BTreeSet<u128>,
    /// Ports, and types and codes of ICMP.
    pub ports: BTreeSet<u16>,
}

impl Default for Edges {
    fn default() -> Self {
        Self {
            v4: BTreeSet::from([0, u32::MAX]),
            v6: BTreeSet::from([0, u128::MAX]),
            ports: BTreeSet::from([0, u16::MAX]),
        }
    }
}

impl Edges {
    /// Collects the edges of policies and of the rules compiled from them.
    ///
    /// # Panics
    ///
    /// Panics if a policy is invalid.
    pub fn of(policies: &[XdpPolicy], compiled: &Compiled) -> Self {
        let mut edges = Self::default();
        let rules = policies.iter().flat_map(|policy| &policy.spec.ingress);
        for rule in rules {
            let blocks = rule.from.iter().filter_map(|peer| peer.ip_block.as_ref());
            for net in blocks.flat_map(|block| std::iter::once(&block.cidr).chain(&block.except)) {
                edges.add_net(net.parse().expect("a network"));
            }
            for port in &rule.ports {
                let first = match port.port {
                    Some(IntOrString::Int(first)) => first,
                    _ => port.kind.map_or(0, |kind| kind << 8 | port.code.unwrap_or(0)),
                };
                edges.add_port(first as u16);
                edges.add_port(port.end_port.unwrap_or(first).saturating_add(1) as u16);
            }
        }
        edges.add_compiled(compiled);
        edges
    }

    fn add_net(&mut self, net: IpNet) {
        match net {
            IpNet::V4(net) => {
                self.add_v4(net.network().into());
                self.add_v4(u32::from(net.broadcast()).saturating_add(1));
            }
            IpNet::V6(net) => {
                self.add_v6(net.network().into());
                self.add_v6(u128::from(net.broadcast()).saturating_add(1));
            }
        }
    }

    fn add_compiled(&mut self, compiled: &Compiled) {
        for bound in compiled.sources_v4.iter().flat_map(|block| block.bounds) {
            self.add_v4(bound);
        }
        for bound in compiled.sources_v6.iter().flat_map(|block| block.bounds) {
            self.add_v6(u128::from_be_bytes(bound.octets()));
        }
        let ports = compiled
            .leaves
            .iter()
            .chain(&compiled.tops)
            .chain(&compiled.roots);
        for bound in ports.flat_map(|Ports { bounds, .. }| bounds) {
            self.add_port(*bound);
        }
    }

    fn add_v4(&mut self, bound: u32) {
        self.v4.extend([bound.saturating_sub(1), bound]);
    }

    fn add_v6(&mut self, bound: u128) {
        self.v6.extend([bound.saturating_sub(1), bound]);
    }

    fn add_port(&mut self, bound: u16) {
        self.ports.extend([bound.saturating_sub(1), bound]);
    }

    /// Returns the sources of an address family.
    pub fn sources(&self, v6: bool) -> Vec<IpAddr> {
        if v6 {
            self.v6.iter().map(|ip| Ipv6Addr::from(*ip).into()).collect()
        } else {
            self.v4.iter().map(|ip| Ipv4Addr::from(*ip).into()).collect()
        }
    }

    /// Builds a packet for every source, protocol and port.
    pub fn packets(&self, destination: IpAddr) -> impl Iterator<Item = PacketSpec> + '_ {
        let sources = self.sources(destination.is_ipv6());
        sources.into_iter().flat_map(move |source| {
            let ports = self.ports.iter();
            ports.flat_map(move |port| {
                let packet = move |protocol| PacketSpec::plain(source, destination, protocol, *port);
                [1, 6, 17, 58, 132, 47].into_iter().map(packet)
            })
        })
    }
}
