//! Matches a packet with the rules as written. The compiled tables do not hold them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use xdp_core::{
    tables::{Class, NO_MATCH, PortRef, PortTarget},
    verdict::RuleTables,
};
use xdp_plan::{
    explain::{ExplainQuery, ExplainedRule, TransportFields, explain},
    network_policy::{Certainty, NotCertain},
    pod::Pod,
    policy::{Policy, Protocol},
    report::Problem,
    targets::{Target, Targets},
};

use crate::report::explain::packet::ProbePacket;

const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// A rule, and whether a packet matches it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleMatch {
    /// Namespace of the policy.
    pub namespace: String,
    /// The policy.
    pub policy: String,
    /// The rule.
    pub rule: String,
    /// The field that does not match; absent if the rule matches.
    pub mismatch: Option<String>,
}

/// What the agent knows of the rules for a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KnownRules {
    /// All rules of the destination, in order.
    pub(crate) rules: Vec<RuleMatch>,
    /// The policy because of which the packet is not certainly allowed, and the reason. Absent if it is.
    pub(crate) network_policy: Option<String>,
}

/// The programmed policies, for queries of `xdp-agent explain`. Replaced as a whole after each reconcile.
#[derive(Debug, Default)]
pub(crate) struct ProgrammedRules(Mutex<Arc<Vec<Target>>>);

impl ProgrammedRules {
    /// Replaces the targets after a reconcile. Policies with one of the problems are not programmed, and are
    /// left out.
    pub(crate) fn update(&self, targets: &Targets, refused: &[Problem]) {
        let refused: BTreeSet<&str> = refused.iter().map(|problem| problem.object.as_str()).collect();
        let programmed = |target: &Target| {
            let mut target = target.clone();
            target
                .policies
                .retain(|policy| !refused.contains(policy.to_string().as_str()));
            target
        };
        let targets = Arc::new(targets.targets.iter().map(programmed).collect());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = targets;
    }

    /// Matches a packet with the rules of its destination, and with the policies that allow it. Returns
    /// `None` if the destination is no target pod.
    pub(crate) fn about(&self, packet: &ProbePacket) -> Option<KnownRules> {
        let targets = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let target = targets
            .iter()
            .find(|target| target.addresses.contains(&packet.to))?;
        Some(KnownRules {
            rules: rows(&target.policies, &target.pod, packet),
            network_policy: not_certain(target, packet).map(|why| why.to_string()),
        })
    }
}

/// Returns why policies do not certainly allow a packet.
fn not_certain(target: &Target, packet: &ProbePacket) -> Option<NotCertain> {
    let protocol = match packet.protocol.0 {
        IPPROTO_TCP => Protocol::Tcp,
        IPPROTO_UDP => Protocol::Udp,
        // All other protocols are alike.
        _ => Protocol::Sctp,
    };
    let port = packet.port.unwrap_or_default();
    match target.certain.certainty(packet.from, protocol, port) {
        Certainty::Certain => None,
        Certainty::NotCertain(why) => Some(why),
    }
}

/// Matches a packet with all rules of the policies, in order.
pub fn rows(policies: &[Arc<Policy>], pod: &Pod, packet: &ProbePacket) -> Vec<RuleMatch> {
    let policies: Vec<&Policy> = policies.iter().map(AsRef::as_ref).collect();
    let query = ExplainQuery {
        source: packet.from,
        protocol: packet.protocol.0,
        transport: transport(packet),
        decided: None,
    };
    let rules = explain(&policies, &pod.ports, &query).into_iter();
    rules
        .map(|ExplainedRule { rule, mismatch }| RuleMatch {
            namespace: rule.namespace,
            policy: rule.policy,
            rule: rule.rule,
            mismatch: mismatch.map(|mismatch| mismatch.as_str().to_owned()),
        })
        .collect()
}

/// Returns the ids of the rules that drop, and decide about some packet of these columns of a class.
pub(super) fn could_match(tables: &impl RuleTables, class: u32, columns: u16) -> BTreeSet<u32> {
    let Some(class) = tables.class(class) else {
        return BTreeSet::new();
    };
    let refs = [
        (Class::TCP, class.tcp),
        (Class::UDP, class.udp),
        (Class::SCTP, class.sctp),
        (Class::ICMP, class.icmp),
        (Class::ICMPV6, class.icmpv6),
        (Class::PORTLESS, PortRef::new(PortTarget::Action(class.portless))),
    ];
    let chosen = refs.into_iter().filter(|(column, _)| columns & column != 0);
    let numbers: BTreeSet<u16> = chosen.flat_map(|(_, at)| numbers(tables, at.get())).collect();
    let records = numbers.into_iter().filter_map(|number| {
        let record = (number != NO_MATCH).then(|| tables.action(number))??;
        record.drops().then_some(record.rule)
    });
    records.collect()
}

/// Returns the action numbers below a reference to ports.
fn numbers(tables: &impl RuleTables, at: PortTarget) -> Vec<u16> {
    let (index, target): (u16, fn(u16) -> PortTarget) = match at {
        PortTarget::Action(number) => return vec![number],
        PortTarget::Leaf(index) => (index, PortTarget::Action),
        PortTarget::Top(index) => (index, PortTarget::Leaf),
        PortTarget::Root(index) => (index, PortTarget::Top),
    };
    let block = tables.ports(u32::from(index));
    // Unused elements repeat the last target.
    let targets: BTreeSet<u16> = block.into_iter().flat_map(|block| block.targets).collect();
    let below = targets
        .into_iter()
        .flat_map(|below| numbers(tables, target(below)));
    below.collect()
}

fn transport(packet: &ProbePacket) -> TransportFields {
    match (packet.port, packet.message) {
        (Some(port), _) => TransportFields::Port(port),
        (None, Some((kind, code))) => TransportFields::Icmp(kind, code),
        (None, None) => TransportFields::Other,
    }
}
