//! The rules that a packet meets, as written: what the tables do not say any more.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use xdp_plan::{
    explain::{ExplainQuery, ExplainedRule, TransportFields, explain},
    pod::Pod,
    policy::Policy,
    report::Problem,
    targets::{Target, Targets},
};

use crate::report::explain::packet::ProbePacket;

/// A rule and a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleMatch {
    /// Namespace of the policy.
    pub namespace: String,
    /// The policy.
    pub policy: String,
    /// The rule.
    pub rule: String,
    /// What does not fit, in one word; absent: the rule matches.
    pub mismatch: Option<String>,
}

/// The policies in force, for those who ask. Exchanged as a whole after each round.
#[derive(Debug, Default)]
pub(crate) struct ProgrammedRules(Mutex<Arc<Vec<Target>>>);

impl ProgrammedRules {
    /// Takes over a round's targets; policies that have one of the problems are not in force.
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

    /// The rules that a packet meets; `None`: its destination is nobody's here.
    pub(crate) fn rows(&self, packet: &ProbePacket) -> Option<Vec<RuleMatch>> {
        let targets = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let target = targets
            .iter()
            .find(|target| target.addresses.contains(&packet.to))?;
        Some(rows(&target.policies, &target.pod, packet))
    }
}

/// All rules of the policies, which are in order, and what the packet lacks for each.
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

fn transport(packet: &ProbePacket) -> TransportFields {
    match (packet.port, packet.message) {
        (Some(port), _) => TransportFields::Port(port),
        (None, Some((kind, code))) => TransportFields::Icmp(kind, code),
        (None, None) => TransportFields::Other,
    }
}
