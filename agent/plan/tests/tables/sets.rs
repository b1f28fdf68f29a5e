//! Validated policies that are larger than the API accepts: resolved sources can be, and limits exist for
//! them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
pub(crate) use xdp_plan::testing::fixture::policy;
use xdp_plan::{
    compile::compile,
    desired::Desired,
    facts::NodeFacts,
    pod::Pod,
    policy::{Block, Policy, PortMatch, PortSet, Protocol, Rule, RuleAction, Source, Sources},
    targets::{Targets, targets},
    testing::{
        fixture,
        node::{pair, test_stations},
    },
};

pub(crate) fn rule(name: &str, from: Sources, ports: Vec<PortMatch>) -> Rule {
    Rule {
        from,
        ports,
        ..fixture::rule(name, RuleAction::Drop)
    }
}

pub(crate) fn v4(number: u32) -> IpNet {
    IpNet::from(IpAddr::from(Ipv4Addr::from(number)))
}

pub(crate) fn v6(number: u128) -> IpNet {
    IpNet::from(IpAddr::from(Ipv6Addr::from(number)))
}

pub(crate) fn listed(nets: impl IntoIterator<Item = IpNet>) -> Sources {
    let block = |cidr| {
        Source::Block(Block {
            cidr,
            except: Vec::new(),
        })
    };
    Sources::Listed(nets.into_iter().map(block).collect())
}

/// Addresses that are not adjacent.
pub(crate) fn scattered(count: u32) -> Sources {
    listed((0..count).map(|number| v4(2 * number + 1)))
}

pub(crate) fn single(protocol: Protocol, port: u16) -> PortMatch {
    let ports = match protocol {
        Protocol::Icmp | Protocol::Icmpv6 => PortSet::Icmp {
            kind: (port >> 8) as u8,
            code: Some(port as u8),
        },
        Protocol::Tcp | Protocol::Udp | Protocol::Sctp => PortSet::Range(port..=port),
    };
    PortMatch { protocol, ports }
}

/// The pod of a namespace.
pub(crate) fn pod(namespace: &str, address: IpAddr) -> Pod {
    fixture::pod(namespace, "p", vec![address])
}

pub(crate) fn targets_of(policies: &[Policy], pods: &[Pod]) -> Targets {
    let pairs = pods
        .iter()
        .zip(10..)
        .map(|(pod, index)| pair(index, pod.addresses.clone()));
    let pairs = pairs.collect();
    let found = targets(
        policies,
        pods,
        &NodeFacts {
            pairs,
            ..NodeFacts::default()
        },
    );
    assert_eq!(found.problems, []);
    found
}

pub(crate) fn desired(policies: &[Policy], pods: &[Pod]) -> Desired {
    Desired {
        stations: Some(test_stations()),
        ..compile(&targets_of(policies, pods), &BTreeMap::new())
    }
}

/// The desired tables of one pod in the policies' namespace.
pub(crate) fn for_one_pod(policies: &[Policy]) -> Desired {
    desired(policies, &[pod("n", [10, 0, 0, 1].into())])
}
