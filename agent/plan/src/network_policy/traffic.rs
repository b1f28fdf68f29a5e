//! What is certainly allowed, for all packets at once.

mod build;

use std::net::IpAddr;

use xdp_crds::policy::Protocol;

use super::{Certainty, NotCertain, ports::Transport};

/// Which packets to a pod are certainly allowed, and why the others are not. Sources of one class have the
/// same ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertainTraffic {
    v4: Vec<(u128, u32)>,
    v6: Vec<(u128, u32)>,
    classes: Vec<PortCertainty>,
    reasons: Vec<NotCertain>,
}

/// Which ports are certainly allowed: zero, or one more than the index of the reason why they are not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortCertainty {
    /// First port and certainty of each interval of TCP ports. Adjacent intervals differ.
    pub tcp: Vec<(u16, u32)>,
    /// First port and certainty of each interval of UDP ports. Adjacent intervals differ.
    pub udp: Vec<(u16, u32)>,
    /// The certainty of other protocols, and of fragments without ports.
    pub other: u32,
}

impl CertainTraffic {
    /// Every packet is certainly allowed: no policy selects the pod.
    pub fn everything() -> Self {
        Self::alike(0, Vec::new())
    }

    /// No packet is certainly allowed.
    pub fn nothing(why: NotCertain) -> Self {
        Self::alike(1, vec![why])
    }

    /// No packet is certainly allowed, for no single reason.
    pub(crate) fn none() -> Self {
        Self::alike(1, Vec::new())
    }

    fn alike(number: u32, reasons: Vec<NotCertain>) -> Self {
        Self {
            v4: vec![(0, 0)],
            v6: vec![(0, 0)],
            classes: vec![PortCertainty::all(number)],
            reasons,
        }
    }

    /// Returns first address and class of each interval of IPv4 sources, as numbers below 2³². Adjacent
    /// intervals differ, and the first starts at zero.
    pub fn sources_v4(&self) -> &[(u128, u32)] {
        &self.v4
    }

    /// Returns first address and class of each interval of IPv6 sources.
    pub fn sources_v6(&self) -> &[(u128, u32)] {
        &self.v6
    }

    /// Returns the classes.
    pub fn classes(&self) -> &[PortCertainty] {
        &self.classes
    }

    /// Returns the reasons why packets are not certainly allowed, each once.
    pub fn reasons(&self) -> &[NotCertain] {
        &self.reasons
    }

    /// Returns whether every packet is certainly allowed.
    pub fn is_everything(&self) -> bool {
        // Without reasons, all classes are alike.
        self.reasons.is_empty() && self.classes[0].other == 0
    }

    /// Returns whether packets are certainly allowed: as [`PodPolicies::certainty`] does, unless the policies
    /// are too many to be evaluated for all packets.
    ///
    /// [`PodPolicies::certainty`]: super::PodPolicies::certainty
    pub fn certainty(&self, source: IpAddr, protocol: Protocol, port: u16) -> Certainty {
        let (intervals, address) = match source.to_canonical() {
            IpAddr::V4(address) => (&self.v4, u128::from(u32::from(address))),
            IpAddr::V6(address) => (&self.v6, address.into()),
        };
        let ports = &self.classes[at(intervals, address) as usize];
        let number = match Transport::of(protocol) {
            Some(Transport::Tcp) => ports.tcp_at(port),
            Some(Transport::Udp) => ports.udp_at(port),
            None => ports.other,
        };
        match number.checked_sub(1) {
            None => Certainty::Certain,
            Some(index) => Certainty::NotCertain(self.reasons[index as usize].clone()),
        }
    }
}

impl PortCertainty {
    /// Returns the certainty of packets to a TCP port.
    pub(crate) fn tcp_at(&self, port: u16) -> u32 {
        at(&self.tcp, port)
    }

    /// Returns the certainty of packets to a UDP port.
    pub(crate) fn udp_at(&self, port: u16) -> u32 {
        at(&self.udp, port)
    }

    /// All ports are alike.
    fn all(number: u32) -> Self {
        Self {
            tcp: vec![(0, number)],
            udp: vec![(0, number)],
            other: number,
        }
    }
}

/// Returns the value of the interval that a number is in. The first interval starts at zero.
fn at<T: Ord + Copy>(intervals: &[(T, u32)], number: T) -> u32 {
    intervals[intervals.partition_point(|(first, _)| *first <= number) - 1].1
}
