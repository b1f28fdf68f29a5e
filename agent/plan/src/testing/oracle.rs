//! The semantics of `XdpPolicy`, read plainly from the API types, one sentence of the documentation after the
//! other.

mod matching;

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use matching::{Matcher, selects};
use xdp_core::verdict::Verdict;
use xdp_crds::{Delivery, Enforcement, RuleAction, XdpPolicy};

use super::packets::{PacketFields, PacketSpec};
use crate::installed::RuleLabels;

/// What must become of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OracleDecision {
    /// Passed; no rule decided.
    Untouched,
    /// A rule decided.
    Decided {
        /// Name of its policy.
        policy: String,
        /// Its name.
        rule: String,
        /// What becomes of the packet.
        outcome: OracleOutcome,
    },
}

impl OracleDecision {
    /// The core's verdict in these words.
    ///
    /// # Panics
    ///
    /// When the rule that decided has no label, or with a verdict that limits made: the oracle knows none.
    pub fn of(verdict: Verdict, rules: &RuleLabels) -> Self {
        let (rule, outcome) = match verdict {
            Verdict::Unparsed(_) | Verdict::NotConsidered | Verdict::NoMatch => return Self::Untouched,
            Verdict::Pass { rule } => (rule, OracleOutcome::Pass),
            Verdict::Audit { rule } => (rule, OracleOutcome::Audit),
            Verdict::Drop { rule } => (rule, OracleOutcome::Drop),
            Verdict::Reject { rule, .. } | Verdict::RejectedSilently { rule, .. } => {
                (rule, OracleOutcome::Reject)
            }
            Verdict::FallBack { rule, .. } => (rule, OracleOutcome::FallBack),
            Verdict::Redirect(redirect) => (
                redirect.metadata.rule(),
                OracleOutcome::Redirect(redirect.metadata.mark()),
            ),
            Verdict::Peer(redirect) => (
                redirect.metadata.rule(),
                OracleOutcome::Peer(redirect.metadata.mark()),
            ),
            Verdict::Limited { .. } | Verdict::Drained => panic!("neither limits nor flows were looked up"),
        };
        Self::Decided {
            policy: rules[&rule].policy.clone(),
            rule: rules[&rule].rule.clone(),
            outcome,
        }
    }
}

/// What a rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OracleOutcome {
    /// Into the pod by XDP, with a mark.
    Redirect(Option<u32>),
    /// Into the pod behind the NIC's stack entry, with a mark.
    Peer(Option<u32>),
    /// To the stack: the pod cannot take this packet.
    FallBack,
    /// To the stack.
    Pass,
    /// Nowhere.
    Drop,
    /// Nowhere, and the sender is told where that is allowed.
    Reject,
    /// Counted, and to the stack.
    Audit,
}

/// What the oracle must know about the pod's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OracleInterface {
    /// Whether it can be delivered to, in both ways.
    pub ready: bool,
    /// Longest IP packet it takes.
    pub mtu: usize,
}

/// Decides about packets, on a node where one pod is the only one and no limit is reached.
pub struct Oracle<'a> {
    addresses: Vec<IpAddr>,
    /// The pod's rules, in order, with their policies.
    rules: Vec<(&'a XdpPolicy, Matcher<'a>)>,
}

/// [`Oracle::decide`] for once.
pub fn decide(
    policies: &[XdpPolicy],
    pod: &Pod,
    interface: OracleInterface,
    packet: &PacketSpec,
) -> OracleDecision {
    Oracle::new(policies, pod).decide(interface, packet)
}

impl<'a> Oracle<'a> {
    /// For a pod.
    ///
    /// # Panics
    ///
    /// With a policy that is not valid.
    pub fn new(policies: &'a [XdpPolicy], pod: &'a Pod) -> Self {
        let addresses = pod
            .status
            .iter()
            .flat_map(|status| status.pod_ips.iter().flatten())
            .map(|address| address.ip.parse().expect("an address"));
        let mut selecting: Vec<&XdpPolicy> = policies.iter().filter(|policy| selects(policy, pod)).collect();
        selecting.sort_by_key(|policy| {
            let meta = &policy.metadata;
            (
                policy.spec.priority,
                meta.creation_timestamp.clone(),
                meta.name.clone(),
            )
        });
        let rules = selecting.into_iter().flat_map(|policy| {
            let rules = policy.spec.ingress.iter();
            rules.map(move |rule| (policy, Matcher::new(rule, pod)))
        });
        Self {
            addresses: addresses.collect(),
            rules: rules.collect(),
        }
    }

    /// What must become of a packet.
    pub fn decide(&self, interface: OracleInterface, packet: &PacketSpec) -> OracleDecision {
        let Some(packet) = packet.fields() else {
            return OracleDecision::Untouched;
        };
        if !self.addresses.contains(&packet.destination) || is_never_considered(&packet) {
            return OracleDecision::Untouched;
        }
        let first = self.rules.iter().find(|(_, rule)| rule.matches(&packet));
        let Some((policy, matcher)) = first else {
            return OracleDecision::Untouched;
        };
        OracleDecision::Decided {
            policy: policy.metadata.name.clone().unwrap_or_default(),
            rule: matcher.rule.name.clone(),
            outcome: outcome(policy, matcher, interface, &packet),
        }
    }
}

fn outcome(
    policy: &XdpPolicy,
    matcher: &Matcher<'_>,
    interface: OracleInterface,
    packet: &PacketFields,
) -> OracleOutcome {
    if policy.spec.enforcement == Enforcement::Audit {
        return OracleOutcome::Audit;
    }
    match matcher.rule.action {
        RuleAction::Pass => OracleOutcome::Pass,
        RuleAction::Drop => OracleOutcome::Drop,
        RuleAction::Reject => OracleOutcome::Reject,
        RuleAction::Redirect
            if !interface.ready || packet.group_mac || packet.fragment || packet.ip_len > interface.mtu =>
        {
            OracleOutcome::FallBack
        }
        RuleAction::Redirect => {
            let mark = matcher.rule.mark;
            let mark = mark.map(|mark| u32::try_from(mark).expect("a valid mark"));
            match policy.spec.delivery {
                Delivery::Redirect => OracleOutcome::Redirect(mark),
                Delivery::Peer => OracleOutcome::Peer(mark),
            }
        }
    }
}

/// Neighbour discovery and DHCP.
fn is_never_considered(packet: &PacketFields) -> bool {
    let v4 = packet.destination.is_ipv4();
    let discovery = !v4 && packet.icmp.is_some_and(|(kind, _)| (133..=137).contains(&kind));
    let is_dhcp = |port: u16| {
        if v4 {
            port == 67 || port == 68
        } else {
            port == 546 || port == 547
        }
    };
    let both = packet
        .ports
        .is_some_and(|(source, destination)| is_dhcp(source) && is_dhcp(destination));
    discovery || (packet.protocol == Some(17) && both)
}
