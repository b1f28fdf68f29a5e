//! One step of an input.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use xdp_plan::{
    policy::{Block, Policy, PortMatch, PortSet, Protocol, Rule, RuleAction, Source, Sources},
    testing::fixture,
};

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepKind {
    /// Policies are created or changed.
    Put,
    /// Policies are deleted.
    Remove,
    /// The agent starts again.
    Restart,
}

/// A step: what happens, and numbers from which policies and packets are made.
pub(crate) struct Step {
    pub(crate) tenant: usize,
    pub(crate) kind: StepKind,
    name: u8,
    rules: usize,
    copies: usize,
    shape: u8,
    seed: u32,
    port: u16,
}

const ACTIONS: [RuleAction; 4] = [
    RuleAction::Redirect,
    RuleAction::Pass,
    RuleAction::Drop,
    RuleAction::Reject,
];

impl Step {
    pub(crate) fn read([what, name, rules, shape, a, b, port, copies]: [u8; 8]) -> Self {
        let tenant = usize::from(what & 1);
        let kind = match what >> 1 & 7 {
            0 => StepKind::Remove,
            1 => StepKind::Restart,
            _ => StepKind::Put,
        };
        // The victim stays within its part, half of each table. The other tenant exceeds it now and then:
        // that takes a second for each input.
        let (most_rules, copies) = match (tenant, copies) {
            (0, 250..) => (100, 330),
            (0, _) => (100, 1 + usize::from(copies) % 4),
            _ => (8, 1 + usize::from(copies) % 2),
        };
        Self {
            tenant,
            kind,
            name: name % 8,
            rules: 1 + usize::from(rules) % most_rules,
            copies,
            shape,
            seed: u32::from_be_bytes([a, b, rules, port]),
            port: u16::from(port),
        }
    }

    /// The first part of the names of this step's policies.
    pub(crate) fn prefix(&self) -> String {
        format!("p{}-", self.name)
    }

    pub(crate) fn policies(&self, namespace: &'static str) -> impl Iterator<Item = Policy> {
        (0..self.copies).map(move |copy| Policy {
            priority: u16::from(self.shape >> 4) * 60,
            ..fixture::policy(
                namespace,
                &format!("{}{copy}", self.prefix()),
                (0..self.rules).map(|index| self.rule(copy, index)).collect(),
            )
        })
    }

    fn rule(&self, copy: usize, index: usize) -> Rule {
        let number = (copy * 100 + index) as u32;
        let first = self.port + (number % 40) as u16;
        let ports = PortMatch {
            protocol: Protocol::Udp,
            ports: PortSet::Range(first..=first + (number % 3) as u16),
        };
        Rule {
            from: self.sources(number),
            ports: if number % 17 == 0 { Vec::new() } else { vec![ports] },
            ..fixture::rule(
                &format!("r{index}"),
                ACTIONS[number.wrapping_add(self.seed) as usize % 4],
            )
        }
    }

    fn sources(&self, number: u32) -> Sources {
        let (count, longest) = match self.shape & 3 {
            0 => return Sources::Any,
            1 => (1, 32),
            2 => (6, 32),
            _ => (12, 10),
        };
        let network = |one: u32| {
            let mixed = (self.seed ^ number << 5 ^ one).wrapping_mul(0x9e37_79b9);
            let prefix = 1 + (mixed >> 8 & 0xff) as u8 % longest;
            let cidr = Ipv4Net::new(Ipv4Addr::from(mixed), prefix)
                .expect("at most 32")
                .trunc();
            Source::Block(Block {
                cidr: cidr.into(),
                except: Vec::new(),
            })
        };
        Sources::Listed((0..count).map(network).collect())
    }

    /// Sources and ports of packets, some of them at the bounds of this step's rules.
    pub(crate) fn packets(&self) -> impl Iterator<Item = (IpAddr, u16)> {
        (0..8_u32).map(|number| {
            let source = match self.sources(number) {
                Sources::Listed(listed) if number % 2 == 0 => match &listed[0] {
                    Source::Block(block) => block.cidr.network(),
                    Source::Pods(_) => IpAddr::from([192, 0, 2, 1]),
                },
                _ => IpAddr::from(self.seed.wrapping_mul(number + 1).to_be_bytes()),
            };
            (source, self.port + (number * 5) as u16)
        })
    }
}
