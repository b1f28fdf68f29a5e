//! The policies that select a pod.

use std::net::IpAddr;

use xdp_crds::{
    network_policy::{
        ADMIN_NETWORK_POLICY, BASELINE_ADMIN_NETWORK_POLICY, CLUSTER_NETWORK_POLICY, IngressPolicy,
        PolicyAction, PolicyKind, PolicyName,
    },
    pod::Pod,
    policy::{PodSelection, Protocol},
};

use super::{
    Certainty, ClusterAddresses, Labels, NotCertain, NotCertainReason, PolicyFacts,
    lists::{DISPUTED, FromTest, Lists, Match, NODES, Numbering},
    ports::{self, PortTest, Transport},
    tiers::{Hit, Uncertain, evaluate},
};

/// The policies that select a pod, ready for questions about packets.
#[derive(Clone, Debug)]
pub struct PodPolicies<'a> {
    /// In order of tiers, priorities and names.
    pub(super) policies: Vec<&'a IngressPolicy>,
    /// In order of policies.
    pub(super) rules: Vec<RuleTest>,
    pub(super) lists: Lists,
    /// Why no packet is certainly allowed, if none is.
    pub(super) nothing: Option<NotCertain>,
}

/// A rule of a policy that selects the pod.
#[derive(Clone, Debug)]
pub(super) struct RuleTest {
    policy: usize,
    action: PolicyAction,
    pub(super) from: FromTest,
    pub(super) ports: Vec<PortTest>,
}

impl RuleTest {
    /// Returns the number of peers and ports, and one for the rule.
    pub(super) const fn size(&self) -> usize {
        1 + self.from.len() + self.ports.len()
    }
}

impl<'a> PolicyFacts<'a> {
    /// Returns the policies that select a pod. The pod is not in the host's network: no policy selects such a
    /// pod.
    pub fn of(&self, pod: &Pod) -> PodPolicies<'a> {
        let labels = self.namespaces.get(&pod.namespace);
        let selecting = self.policies.iter().map(AsRef::as_ref);
        let selecting = selecting.filter(|policy| selects(&policy.subject, pod, labels) != Some(false));
        let mut policies: Vec<&IngressPolicy> = selecting.collect();
        policies.sort_by_key(|policy| (policy.tier, policy.priority, &policy.name));
        let nothing = self.nothing(pod, labels, &policies);
        let unknown = ClusterAddresses::default();
        let mut numbering = Numbering::new(self.cluster.unwrap_or(&unknown), self.sets);
        let rules = policies
            .iter()
            .enumerate()
            .flat_map(|(index, policy)| policy.rules.iter().map(move |rule| (index, rule)));
        let rules = rules.map(|(policy, rule)| RuleTest {
            policy,
            action: rule.action,
            from: numbering.sources(&rule.from),
            ports: ports::tests(&rule.ports, pod),
        });
        PodPolicies {
            rules: rules.collect(),
            policies,
            lists: numbering.finish(),
            nothing,
        }
    }

    /// Returns why no packet to a pod is certainly allowed. `None`: some may be.
    fn nothing(&self, pod: &Pod, labels: Option<&Labels>, policies: &[&IngressPolicy]) -> Option<NotCertain> {
        let because = |policy: &PolicyName, reason| NotCertain {
            policy: policy.clone(),
            reason,
        };
        let may_select = |selection: &PodSelection| selects(selection, pod, labels) != Some(false);
        if let Some(error) = self
            .unreadable
            .iter()
            .find(|error| may_select(&error.may_select()))
        {
            return Some(because(&error.policy, NotCertainReason::Unreadable));
        }
        if let Some(policy) = self
            .foreign
            .iter()
            .find(|policy| policy.may_restrict(pod, labels))
        {
            return Some(because(policy.name(), NotCertainReason::Foreign));
        }
        let is_unknown = |policy: &&&IngressPolicy| selects(&policy.subject, pod, labels).is_none();
        if let Some(policy) = policies.iter().find(is_unknown) {
            return Some(because(&policy.name, NotCertainReason::NamespacePending));
        }
        let of_kind = |kind: PolicyKind| policies.iter().find(|policy| policy.name.kind == kind);
        let admin = of_kind(ADMIN_NETWORK_POLICY).or_else(|| of_kind(BASELINE_ADMIN_NETWORK_POLICY));
        if let (Some(policy), Some(_)) = (admin, of_kind(CLUSTER_NETWORK_POLICY)) {
            return Some(because(&policy.name, NotCertainReason::TwoVersions));
        }
        let first = policies.first().filter(|_| self.cluster.is_none())?;
        Some(because(&first.name, NotCertainReason::ClusterPending))
    }
}

impl PodPolicies<'_> {
    /// Returns whether packets from a source to a port of the pod are certainly allowed. `port` means nothing
    /// with protocols without ports.
    pub fn certainty(&self, source: IpAddr, protocol: Protocol, port: u16) -> Certainty {
        if let Some(nothing) = &self.nothing {
            return Certainty::NotCertain(nothing.clone());
        }
        let has = |set: u32| self.lists.sets[set as usize].contains(source);
        let certain = self.check_source(has).and_then(|()| {
            let transport = Transport::of(protocol);
            let Some(transport) = transport.filter(|_| !self.policies.is_empty()) else {
                return self.check_other_protocols();
            };
            let candidates = self.rules.iter().map(|rule| (rule, rule.from.matches(has)));
            self.evaluate(candidates, transport, port)
        });
        match certain {
            Ok(()) => Certainty::Certain,
            Err(uncertain) => Certainty::NotCertain(self.not_certain(uncertain)),
        }
    }

    /// Checks what is true of a source whatever the rules say.
    pub(super) fn check_source(&self, has: impl Fn(u32) -> bool) -> Result<(), Uncertain> {
        match self.policies.first() {
            Some(_) if has(NODES) => Err((0, NotCertainReason::NodeAddress)),
            Some(_) if has(DISPUTED) => Err((0, NotCertainReason::DisputedAddress)),
            Some(_) | None => Ok(()),
        }
    }

    /// Checks protocols other than TCP and UDP, and fragments without ports.
    pub(super) fn check_other_protocols(&self) -> Result<(), Uncertain> {
        match self.policies.first() {
            Some(_) => Err((0, NotCertainReason::Protocol)),
            None => Ok(()),
        }
    }

    /// Evaluates rules for packets to a port. Each rule is there with how its sources match; those that do
    /// not may be missing.
    pub(super) fn evaluate<'r>(
        &self,
        rules: impl Iterator<Item = (&'r RuleTest, Match)>,
        transport: Transport,
        port: u16,
    ) -> Result<(), Uncertain> {
        let hits = rules.map(|(rule, from)| Hit {
            policy: rule.policy,
            action: rule.action,
            matched: from.min(ports::matches(&rule.ports, transport, port)),
        });
        let hits: Vec<Hit> = hits.filter(|hit| hit.matched != Match::No).collect();
        evaluate(&self.policies, &hits)
    }

    pub(super) fn not_certain(&self, (policy, reason): Uncertain) -> NotCertain {
        NotCertain {
            policy: self.policies[policy].name.clone(),
            reason,
        }
    }
}

fn selects(selection: &PodSelection, pod: &Pod, labels: Option<&Labels>) -> Option<bool> {
    selection.includes(&pod.namespace, labels, &pod.labels)
}
