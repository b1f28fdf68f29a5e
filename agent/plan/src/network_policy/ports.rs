//! The ports of a rule in a pod.

use xdp_crds::{network_policy::PolicyPort, pod::Pod, policy::Protocol};

use super::{NotCertainReason, lists::Match};

/// A protocol about whose ports engines agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// Ports that a rule matches, or may match.
#[derive(Clone, Copy, Debug)]
pub(super) struct PortTest {
    transport: Transport,
    pub(super) first: u16,
    pub(super) last: u16,
    matched: Match,
}

impl Transport {
    /// Returns the protocol, if it is one of these.
    pub(super) const fn of(protocol: Protocol) -> Option<Self> {
        match protocol {
            Protocol::Tcp => Some(Self::Tcp),
            Protocol::Udp => Some(Self::Udp),
            Protocol::Sctp | Protocol::Icmp | Protocol::Icmpv6 => None,
        }
    }
}

/// Returns the ports of a rule in a pod.
pub(super) fn tests(ports: &[PolicyPort], pod: &Pod) -> Vec<PortTest> {
    if ports.is_empty() {
        return all(Match::Yes).into();
    }
    ports.iter().flat_map(|port| test(port, pod)).collect()
}

/// Returns the ports of a protocol at which some test begins to match or ends, and zero.
pub(super) fn bounds<'a>(tests: impl Iterator<Item = &'a PortTest>, transport: Transport) -> Vec<u16> {
    let own = tests.filter(|test| test.transport == transport);
    let bounds = own.flat_map(|test| [Some(test.first), test.last.checked_add(1)]);
    let mut bounds: Vec<u16> = bounds.flatten().chain([0]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    bounds
}

/// Returns whether one of the tests matches a port.
pub(super) fn matches(tests: &[PortTest], transport: Transport, port: u16) -> Match {
    let own = tests.iter().filter(|test| test.transport == transport);
    let matching = own.filter(|test| (test.first..=test.last).contains(&port));
    matching.map(|test| test.matched).max().unwrap_or(Match::No)
}

fn test(port: &PolicyPort, pod: &Pod) -> Vec<PortTest> {
    let test = |protocol, first, last, matched| {
        let transport = Transport::of(protocol)?;
        Some(PortTest {
            transport,
            first,
            last,
            matched,
        })
    };
    let test = match port {
        PolicyPort::Unreadable => return all(Match::Maybe(NotCertainReason::Unreadable)).into(),
        PolicyPort::Range { protocol, ports } => test(*protocol, *ports.start(), *ports.end(), Match::Yes),
        PolicyPort::Named { protocol, name } => {
            let key = (name.clone(), *protocol);
            if pod.ambiguous_ports.contains(&key) {
                test(
                    *protocol,
                    0,
                    u16::MAX,
                    Match::Maybe(NotCertainReason::AmbiguousPort),
                )
            } else {
                pod.ports
                    .get(&key)
                    .and_then(|number| test(*protocol, *number, *number, Match::Yes))
            }
        }
    };
    Vec::from_iter(test)
}

fn all(matched: Match) -> [PortTest; 2] {
    [Transport::Tcp, Transport::Udp].map(|transport| PortTest {
        transport,
        first: 0,
        last: u16::MAX,
        matched,
    })
}
