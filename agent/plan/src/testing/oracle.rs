//! Decides about packets by the documented semantics of `XdpPolicy`, from the API types.

mod matching;
mod unparsed;

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use matching::{Matcher, selects};
use xdp_core::verdict::Verdict;
use xdp_crds::{Delivery, Enforcement, RuleAction, XdpPolicy};

use super::packets::{PacketFields, PacketSpec, UnparsedFields};
use crate::installed::RuleLabels;

/// The expected decision about a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OracleDecision {
    /// The packet passes; no rule decided.
    Untouched,
    /// The packet is dropped: it cannot be parsed to its ports, and a rule that drops could match it.
    UnparsedDrop,
    /// A rule decided.
    Decided {
        /// Name of the rule's policy.
        policy: String,
        /// Name of the rule.
        rule: String,
        /// The outcome for the packet.
        outcome: OracleOutcome,
    },
}

impl OracleDecision {
    /// Converts a verdict of the core.
    ///
    /// # Panics
    ///
    /// Panics if the rule has no label, and for the verdict of a rate limit, which the oracle does not
    /// implement.
    pub fn of(verdict: Verdict, rules: &RuleLabels) -> Self {
        let (rule, outcome) = match verdict {
            Verdict::Unparsed(_) | Verdict::NotConsidered | Verdict::Foreign(_) | Verdict::NoMatch => {
                return Self::Untouched;
            }
            Verdict::UnparsedDrop(_) => return Self::UnparsedDrop,
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
            Verdict::Limited { .. } | Verdict::Drained | Verdict::OwnConnection => {
                panic!("neither limits nor flows were looked up")
            }
        };
        Self::Decided {
            policy: rules[&rule].policy.clone(),
            rule: rules[&rule].rule.clone(),
            outcome,
        }
    }
}

/// The outcome of a rule for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OracleOutcome {
    /// Redirected into the pod by XDP, with a mark.
    Redirect(Option<u32>),
    /// Redirected into the pod by the NIC's tc ingress program, with a mark.
    Peer(Option<u32>),
    /// Passed to the stack: the pod cannot take the packet.
    FallBack,
    /// Passed to the stack.
    Pass,
    /// Dropped.
    Drop,
    /// Dropped, and the sender gets an answer where one is allowed.
    Reject,
    /// Counted, and passed to the stack.
    Audit,
}

/// The state of the pod's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OracleInterface {
    /// Whether both deliveries are ready.
    pub ready: bool,
    /// MTU of the interface.
    pub mtu: usize,
}

/// Decides about packets on a node with one pod. It does not implement rate limits.
pub struct Oracle<'a> {
    addresses: Vec<IpAddr>,
    /// The pod's rules in order, with their policies.
    rules: Vec<(&'a XdpPolicy, Matcher<'a>)>,
}

/// Decides about one packet, like [`Oracle::decide`].
pub fn decide(
    policies: &[XdpPolicy],
    pod: &Pod,
    interface: OracleInterface,
    packet: &PacketSpec,
) -> OracleDecision {
    Oracle::new(policies, pod).decide(interface, packet)
}

impl<'a> Oracle<'a> {
    /// Builds the oracle of a pod.
    ///
    /// # Panics
    ///
    /// Panics if a policy is invalid.
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

    /// Decides about a packet.
    pub fn decide(&self, interface: OracleInterface, packet: &PacketSpec) -> OracleDecision {
        if let Some(UnparsedFields { protocol }) = packet.unparsed() {
            let is_dropped =
                self.addresses.contains(&packet.destination) && self.could_drop(packet, protocol);
            return if is_dropped {
                OracleDecision::UnparsedDrop
            } else {
                OracleDecision::Untouched
            };
        }
        let Some(packet) = packet.fields() else {
            return OracleDecision::Untouched;
        };
        if !self.addresses.contains(&packet.destination) || is_never_considered(&packet) {
            return OracleDecision::Untouched;
        }
        let Some((policy, matcher)) = self.first(&packet) else {
            return OracleDecision::Untouched;
        };
        OracleDecision::Decided {
            policy: policy.metadata.name.clone().unwrap_or_default(),
            rule: matcher.rule.name.clone(),
            outcome: outcome(policy, matcher, interface, &packet),
        }
    }

    /// Returns the first rule that matches a packet, with its policy.
    fn first(&self, packet: &PacketFields) -> Option<&(&'a XdpPolicy, Matcher<'a>)> {
        self.rules.iter().find(|(_, rule)| rule.matches(packet))
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
            if !interface.ready
                || packet.group_mac
                || packet.options
                || packet.fragment
                || packet.ip_len > interface.mtu =>
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

/// Returns whether a packet is neighbour discovery or DHCP.
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
