//! Flows with a wanted verdict.

use super::{LAST_PORT, LOWEST, NO_PORT, Network, SOURCE_PORT, UDP, Workload, WorkloadRule, mask};

/// Expected verdict of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedVerdict {
    /// No rule matches.
    Miss,
    /// The rule of this number drops it.
    Drop(u32),
    /// The rule of this number redirects it.
    Redirect(u32),
}

/// Kind of wanted flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowClass {
    /// A rule redirects them.
    Allow,
    /// A rule drops them.
    Drop,
    /// The pod's last rule redirects them.
    Last,
    /// No rule matches.
    Miss,
}

/// A flow from one source to one port of a pod.
#[derive(Clone, Copy, Debug)]
pub struct TestFlow {
    /// Index of the workload's pod.
    pub target: usize,
    /// Source address.
    pub source: u128,
    /// Source port. Rules do not use it, but it distinguishes flows.
    pub from_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Destination port.
    pub port: u16,
    /// Expected verdict.
    pub verdict: ExpectedVerdict,
}

impl Workload {
    /// Returns the verdict by walking the list of rules: the oracle of all checks.
    pub fn verdict(&self, target: usize, source: u128, protocol: u8, port: u16) -> ExpectedVerdict {
        let rules = &self.targets[target].rules;
        match rules.iter().find(|rule| rule.matches(source, protocol, port)) {
            None => ExpectedVerdict::Miss,
            Some(rule) if rule.redirect => ExpectedVerdict::Redirect(rule.number),
            Some(rule) => ExpectedVerdict::Drop(rule.number),
        }
    }

    /// Returns `count` random flows of a class, to the pods in turn, `train` consecutive ones to each.
    /// Returns `None` if there are none, or too few to find.
    pub fn flows(
        &self,
        class: FlowClass,
        count: usize,
        train: usize,
        only_udp: bool,
    ) -> Option<Vec<TestFlow>> {
        let mut random = fastrand::Rng::with_seed(count as u64);
        (0..count)
            .map(|index| {
                let target = index / train % self.targets.len();
                // If a pod has no rule of the class, another pod replaces it.
                let flow = (0..self.targets.len()).find_map(|further| {
                    self.draw(
                        &mut random,
                        class,
                        (target + further) % self.targets.len(),
                        only_udp,
                    )
                })?;
                let from_port = LOWEST + (index % usize::from(u16::MAX - LOWEST)) as u16;
                Some(TestFlow { from_port, ..flow })
            })
            .collect()
    }

    /// Returns a flow to the port of the pod's last rule.
    pub fn probe(&self, target: usize) -> TestFlow {
        let (protocol, port) = (UDP, LAST_PORT);
        let source = if self.targets[target].address.is_ipv4() {
            super::bits([33, 0, 0, 1].into())
        } else {
            0x2001 << 112 | 1
        };
        TestFlow {
            target,
            source,
            from_port: SOURCE_PORT,
            protocol,
            port,
            verdict: self.verdict(target, source, protocol, port),
        }
    }

    fn draw(
        &self,
        random: &mut fastrand::Rng,
        class: FlowClass,
        target: usize,
        only_udp: bool,
    ) -> Option<TestFlow> {
        let rules = &self.targets[target].rules;
        (0..100).find_map(|_| {
            let rule = rules.get(random.usize(..rules.len().max(1)))?;
            let flow = self.one(random, class, target, rule);
            let wanted = match (class, flow.verdict) {
                (FlowClass::Allow, ExpectedVerdict::Redirect(_))
                | (FlowClass::Drop, ExpectedVerdict::Drop(_))
                | (FlowClass::Miss, ExpectedVerdict::Miss) => true,
                (FlowClass::Last, ExpectedVerdict::Redirect(number)) => {
                    Some(number) == rules.last().map(|rule| rule.number)
                }
                _ => false,
            };
            (wanted && !(only_udp && flow.protocol != UDP)).then_some(flow)
        })
    }

    fn one(
        &self,
        random: &mut fastrand::Rng,
        class: FlowClass,
        target: usize,
        rule: &WorkloadRule,
    ) -> TestFlow {
        let source = draw_source(random, rule.source);
        // For rules with any protocol, uses one with tracked replies.
        let of_rule = if rule.protocol == 0 { UDP } else { rule.protocol };
        let (protocol, port) = match class {
            FlowClass::Last => (UDP, LAST_PORT),
            FlowClass::Miss => (of_rule, NO_PORT),
            FlowClass::Allow | FlowClass::Drop => (of_rule, random.u16(rule.low..=rule.high)),
        };
        TestFlow {
            target,
            source,
            from_port: SOURCE_PORT,
            protocol,
            port,
            verdict: self.verdict(target, source, protocol, port),
        }
    }
}

/// Draws an address of the network that an internet host may have.
fn draw_source(random: &mut fastrand::Rng, network: Network) -> u128 {
    let host = random.u128(..) & !mask(network.length);
    let address = network.first | host;
    match network.length {
        // Everybody: stay within what the networks are drawn from.
        0 => 0x2 << 124 | address >> 4,
        super::MAPPED if network == super::all_sources(true) => 0xffff_2000_0000 | address & 0x1fff_ffff,
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn flows_of_every_class_meet_what_they_should() {
        let pods: Vec<IpAddr> = (1..4).map(|n| IpAddr::from([10, 2, 0, n])).collect();
        let workload = Workload::new(&pods, 50, 1);
        for class in [
            FlowClass::Allow,
            FlowClass::Drop,
            FlowClass::Last,
            FlowClass::Miss,
        ] {
            let flows = workload.flows(class, 256, 16, false).unwrap();
            assert_eq!(flows.len(), 256);
            for flow in flows {
                let right = match class {
                    FlowClass::Allow | FlowClass::Last => {
                        matches!(flow.verdict, ExpectedVerdict::Redirect(_))
                    }
                    FlowClass::Drop => matches!(flow.verdict, ExpectedVerdict::Drop(_)),
                    FlowClass::Miss => flow.verdict == ExpectedVerdict::Miss,
                };
                assert!(right, "{class:?}: {flow:?}");
            }
        }
    }

    #[test]
    fn sources_are_of_the_pods_family() {
        let pods: Vec<IpAddr> = (1..20)
            .map(|n| IpAddr::from([0xfd02, 0, 0, 0, 0, 0, 0, n]))
            .collect();
        let flows = Workload::new(&pods, 250, 1)
            .flows(FlowClass::Allow, 4096, 1, true)
            .unwrap();
        assert!(
            flows
                .iter()
                .all(|flow| crate::workload::address(flow.source).is_ipv6())
        );
    }

    #[test]
    fn a_workload_without_drops_has_no_such_flows() {
        let workload = Workload::new(&[IpAddr::from([10, 2, 0, 1])], 1, 1);
        assert!(workload.flows(FlowClass::Drop, 16, 1, false).is_none());
        assert_eq!(workload.probe(0).verdict, ExpectedVerdict::Redirect(1));
    }

    #[test]
    fn no_two_flows_are_the_same() {
        let pods: Vec<IpAddr> = (1..111).map(|n| IpAddr::from([10, 2, 0, n])).collect();
        let flows = Workload::new(&pods, 100, 1)
            .flows(FlowClass::Allow, 65_536, 1, false)
            .unwrap();
        let all: std::collections::BTreeSet<_> = flows
            .iter()
            .map(|flow| (flow.target, flow.source, flow.from_port, flow.protocol, flow.port))
            .collect();
        assert_eq!(all.len(), flows.len());
    }

    #[test]
    fn trains_go_to_one_pod() {
        let pods: Vec<IpAddr> = (1..4).map(|n| IpAddr::from([10, 2, 0, n])).collect();
        let flows = Workload::new(&pods, 50, 1)
            .flows(FlowClass::Allow, 64, 16, false)
            .unwrap();
        assert!(
            flows
                .chunks(16)
                .all(|train| train.iter().all(|flow| flow.target == train[0].target))
        );
    }
}
