//! Random rules and flows with the shape of real policies, and the expected verdict of each flow.
//!
//! Pods × ordered rules; a quarter as many networks as rules (/16 to /32, for IPv6 /48 to /128, and one for
//! all sources); half of the ports exact, a third ranges of up to 2,000, the rest wider; TCP to UDP 3:1;
//! three of four rules redirect, the others drop. The last rule of a pod has a port that no other rule has,
//! so only the last rule matches there.

mod flows;
mod frames;
mod manifests;
mod prefixes;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use flows::{ExpectedVerdict, FlowClass, TestFlow};
pub use frames::{FrameSpec, SOURCE_PORT, frame};
pub use manifests::policies;
pub use prefixes::{Classes, port_prefixes};

/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// The lowest port of all rules but the last.
const LOWEST: u16 = 1024;
/// The port of the last rule.
const LAST_PORT: u16 = 9;
/// A port without a rule.
const NO_PORT: u16 = 10;
/// Prefix length of IPv4-mapped addresses, `::ffff:0:0/96`.
const MAPPED: u8 = 96;

/// A network; IPv4 in its mapped form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// The first address.
    pub first: u128,
    /// Prefix length, of 128 bits.
    pub length: u8,
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkloadRule {
    /// Its number over all pods, from 1; part of its mark.
    pub number: u32,
    /// Source of the packets.
    pub source: Network,
    /// IP protocol; 0 if the rule matches every packet.
    pub protocol: u8,
    /// First port.
    pub low: u16,
    /// Last port.
    pub high: u16,
    /// Whether the rule redirects; otherwise it drops.
    pub redirect: bool,
}

/// A pod and its ordered rules.
#[derive(Clone, Debug)]
pub struct WorkloadPod {
    /// Its address.
    pub address: IpAddr,
    /// Rules; the first match decides.
    pub rules: Vec<WorkloadRule>,
    /// Whether the policy's delivery is `Peer` instead of `Redirect`.
    pub peer: bool,
}

/// Rules of some pods.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The pods.
    pub targets: Vec<WorkloadPod>,
    /// Distinguishes this workload's marks from those of others.
    pub epoch: u32,
}

impl Network {
    /// Returns whether the network contains an address.
    pub const fn contains(&self, address: u128) -> bool {
        address & mask(self.length) == self.first
    }

    /// Returns whether the network contains another network.
    pub const fn covers(&self, other: &Self) -> bool {
        self.length <= other.length && self.contains(other.first)
    }

    /// Formats the network as in a policy.
    pub fn text(&self) -> String {
        match address(self.first) {
            IpAddr::V4(first) => format!("{first}/{}", self.length - MAPPED),
            IpAddr::V6(first) => format!("{first}/{}", self.length),
        }
    }
}

impl WorkloadRule {
    /// Returns whether the rule matches a packet.
    pub const fn matches(&self, source: u128, protocol: u8, port: u16) -> bool {
        self.protocol == 0
            || self.protocol == protocol
                && self.low <= port
                && port <= self.high
                && self.source.contains(source)
    }
}

impl Workload {
    /// Draws `rules` random rules for each of these pods.
    pub fn new(pods: &[IpAddr], rules: usize, epoch: u32) -> Self {
        let mut random = fastrand::Rng::with_seed(rules as u64 ^ pods.len() as u64);
        let mut number = 0;
        let targets = pods
            .iter()
            .map(|pod| WorkloadPod {
                address: *pod,
                rules: draw_rules(&mut random, pod.is_ipv4(), rules, &mut number),
                peer: false,
            })
            .collect();
        Self { targets, epoch }
    }

    /// Adds pods with one rule for every packet, which need no classification.
    #[must_use]
    pub fn with_plain(mut self, pods: &[IpAddr]) -> Self {
        let mut number = self.rules() as u32;
        self.targets.extend(pods.iter().map(|pod| {
            number += 1;
            let rule = WorkloadRule {
                protocol: 0,
                ..last_rule(number, pod.is_ipv4())
            };
            WorkloadPod {
                address: *pod,
                rules: vec![rule],
                peer: false,
            }
        }));
        self
    }

    /// Returns a copy in which only some pods have rules, so that flows only go to these.
    #[must_use]
    pub fn only(&self, targets: std::ops::Range<usize>) -> Self {
        let silent = |(index, target): (usize, &WorkloadPod)| WorkloadPod {
            address: target.address,
            rules: if targets.contains(&index) {
                target.rules.clone()
            } else {
                Vec::new()
            },
            peer: target.peer,
        };
        Self {
            targets: self.targets.iter().enumerate().map(silent).collect(),
            epoch: self.epoch,
        }
    }

    /// Returns the number of rules.
    pub fn rules(&self) -> usize {
        self.targets.iter().map(|target| target.rules.len()).sum()
    }

    /// Returns the mark of a rule.
    pub const fn mark(&self, number: u32) -> u32 {
        self.epoch << 16 | number
    }
}

/// Converts an address to 128 bits.
pub fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// Converts 128 bits to an address.
pub fn address(bits: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(bits)).to_canonical()
}

const fn mask(length: u8) -> u128 {
    if length == 0 {
        0
    } else {
        u128::MAX << (128 - length)
    }
}

fn draw_rules(random: &mut fastrand::Rng, v4: bool, count: usize, number: &mut u32) -> Vec<WorkloadRule> {
    let mut networks: Vec<Network> = (1..(count / 4).max(1))
        .map(|_| draw_network(random, v4))
        .collect();
    networks.push(all_sources(v4));
    (0..count)
        .map(|index| {
            *number += 1;
            if index + 1 == count {
                return last_rule(*number, v4);
            }
            let (low, high) = draw_ports(random);
            WorkloadRule {
                number: *number,
                source: networks[random.usize(..networks.len())],
                protocol: if random.u8(..4) < 3 { TCP } else { UDP },
                low,
                high,
                redirect: random.u8(..4) < 3,
            }
        })
        .collect()
}

const fn last_rule(number: u32, v4: bool) -> WorkloadRule {
    WorkloadRule {
        number,
        source: all_sources(v4),
        protocol: UDP,
        low: LAST_PORT,
        high: LAST_PORT,
        redirect: true,
    }
}

const fn all_sources(v4: bool) -> Network {
    if v4 {
        Network {
            first: 0xffff_0000_0000,
            length: MAPPED,
        }
    } else {
        Network { first: 0, length: 0 }
    }
}

/// Draws a network from `32.0.0.0/3` or `2000::/3`: no local addresses, and none that the stack refuses.
fn draw_network(random: &mut fastrand::Rng, v4: bool) -> Network {
    let (first, length) = if v4 {
        let address = Ipv4Addr::from(random.u32(0x2000_0000..0x4000_0000));
        (bits(address.into()), random.u8(MAPPED + 16..=128))
    } else {
        (0x2 << 124 | random.u128(..) >> 4, random.u8(48..=128))
    };
    Network {
        first: first & mask(length),
        length,
    }
}

fn draw_ports(random: &mut fastrand::Rng) -> (u16, u16) {
    let low = random.u16(LOWEST..);
    match random.u8(..10) {
        0..5 => (low, low),
        5..8 => (low, low.saturating_add(random.u16(1..2000))),
        _ => (low, u16::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_has_the_documented_shape_and_is_deterministic() {
        let pods = [IpAddr::from([10, 2, 0, 1]), IpAddr::from([10, 2, 0, 2])];
        let workload = Workload::new(&pods, 100, 1);
        assert_eq!(workload.rules(), 200);
        let networks: std::collections::BTreeSet<_> =
            workload.targets[0].rules.iter().map(|rule| rule.source).collect();
        assert!(networks.len() <= 25, "{}", networks.len());
        let again = Workload::new(&pods, 100, 1);
        assert_eq!(workload.targets[1].rules, again.targets[1].rules);
    }

    #[test]
    fn networks_are_written_in_their_own_family() {
        assert_eq!(all_sources(true).text(), "0.0.0.0/0");
        assert_eq!(all_sources(false).text(), "::/0");
        assert!(all_sources(true).contains(bits(IpAddr::from([1, 2, 3, 4]))));
    }
}
