//! Matches pods with policies by labels, and with veth pairs by addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    Target, Targets,
    carrier::{Evidence, Holders, Witness},
    problem::{ambiguous, claimed_twice, given_twice, in_doubt, no_address, no_interface},
};
use crate::{
    facts::{NodeFacts, Pair},
    network_policy::CertainTraffic,
    pod::Pod,
    policy::{Delivery, Policy},
    report::Problem,
};

pub(super) fn find(
    policies: &[Arc<Policy>],
    pods: &[Arc<Pod>],
    facts: &NodeFacts,
    holders: &Holders,
) -> Targets {
    let mut problems = Vec::new();
    let policies = ordered(policies, &mut problems);
    let pods = distinct(pods, &mut problems);
    let mut search = Search {
        carriers: carriers(facts),
        claims: claims(&pods),
        evidence: Evidence::new(facts, holders),
        problems,
        notes: Vec::new(),
    };
    let selectors = Selectors::new(&policies);
    let mut targets = Vec::new();
    for pod in pods {
        let selecting = selectors.of(pod);
        if !selecting.is_empty() && pod.owns_addresses() {
            targets.extend(search.targets_of(pod, &selecting));
        }
    }
    targets.sort_by(|a, b| key(a).cmp(&key(b)));
    let Search { problems, notes, .. } = search;
    Targets {
        targets,
        policies,
        problems,
        notes,
    }
}

fn key(target: &Target) -> (&str, &str, u32) {
    (&target.pod.namespace, &target.pod.name, target.pair.host.ifindex)
}

/// Policies by a label that they require, so that a pod is compared with few policies.
pub(super) struct Selectors<'a> {
    policies: &'a [Arc<Policy>],
    /// Positions of policies that require a label with this value, by namespace, key and value.
    by_label: BTreeMap<(&'a str, &'a str, &'a str), Vec<usize>>,
    /// Positions of the other policies, by namespace.
    others: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Selectors<'a> {
    pub(super) fn new(policies: &'a [Arc<Policy>]) -> Self {
        let (mut by_label, mut others) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for (position, policy) in policies.iter().enumerate() {
            let namespace = policy.namespace.as_str();
            match policy.selector.required() {
                Some((key, value)) => by_label
                    .entry((namespace, key, value))
                    .or_default()
                    .push(position),
                None => others.entry(namespace).or_default().push(position),
            }
        }
        Self {
            policies,
            by_label,
            others,
        }
    }

    /// Returns whether any policy selects the pod.
    pub(super) fn select(&self, pod: &Pod) -> bool {
        let candidates = self.candidates(pod).into_iter();
        let mut policies = candidates.map(|position| &self.policies[position]);
        policies.any(|policy| policy.selector.matches(&pod.labels))
    }

    /// Returns the policies that select the pod, in their order.
    fn of(&self, pod: &Pod) -> Vec<Arc<Policy>> {
        let mut positions = self.candidates(pod);
        positions.sort_unstable();
        let policies = positions.into_iter().map(|position| &self.policies[position]);
        let selecting = policies.filter(|policy| policy.selector.matches(&pod.labels));
        selecting.cloned().collect()
    }

    fn candidates(&self, pod: &Pod) -> Vec<usize> {
        let namespace = pod.namespace.as_str();
        let labelled = pod.labels.iter();
        let labelled = labelled.filter_map(|(key, value)| self.by_label.get(&(namespace, &**key, &**value)));
        let candidates = labelled.chain(self.others.get(namespace));
        candidates.flatten().copied().collect()
    }
}

fn ordered(policies: &[Arc<Policy>], problems: &mut Vec<Problem>) -> Vec<Arc<Policy>> {
    let mut names = BTreeSet::new();
    let mut kept = Vec::new();
    for policy in policies {
        if names.insert((&policy.namespace, &policy.name)) {
            kept.push(Arc::clone(policy));
        } else {
            problems.push(given_twice(policy.to_string()));
        }
    }
    kept.sort_by(|a, b| a.order().cmp(&b.order()));
    kept
}

fn distinct<'a>(pods: &'a [Arc<Pod>], problems: &mut Vec<Problem>) -> Vec<&'a Arc<Pod>> {
    let mut names = BTreeSet::new();
    let mut kept = Vec::new();
    for pod in pods {
        if names.insert((&pod.namespace, &pod.name)) {
            kept.push(pod);
        } else {
            problems.push(given_twice(pod.to_string()));
        }
    }
    kept
}

fn carriers(facts: &NodeFacts) -> BTreeMap<IpAddr, Vec<&Pair>> {
    let mut carriers: BTreeMap<IpAddr, Vec<&Pair>> = BTreeMap::new();
    for pair in &facts.pairs {
        let distinct: BTreeSet<IpAddr> = pair.addresses.iter().map(IpAddr::to_canonical).collect();
        for address in distinct {
            carriers.entry(address).or_default().push(pair);
        }
    }
    carriers
}

fn claims<'a>(pods: &[&'a Arc<Pod>]) -> BTreeMap<IpAddr, Vec<&'a Pod>> {
    let mut claims: BTreeMap<IpAddr, Vec<&Pod>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| pod.owns_addresses()) {
        for address in &pod.addresses {
            claims.entry(*address).or_default().push(pod);
        }
    }
    claims
}

struct Search<'a> {
    /// Pairs by the addresses that they carry.
    carriers: BTreeMap<IpAddr, Vec<&'a Pair>>,
    /// Pods by the addresses in their status.
    claims: BTreeMap<IpAddr, Vec<&'a Pod>>,
    evidence: Evidence<'a>,
    problems: Vec<Problem>,
    notes: Vec<Problem>,
}

/// What one pair carries for a pod.
struct Carried<'a> {
    pair: &'a Pair,
    addresses: BTreeSet<IpAddr>,
    doubt: Option<String>,
}

impl<'a> Search<'a> {
    fn targets_of(&mut self, pod: &Arc<Pod>, policies: &[Arc<Policy>]) -> Vec<Target> {
        if pod.addresses.is_empty() {
            self.problems.push(no_address(pod));
        }
        let mut by_pair: BTreeMap<u32, Carried<'a>> = BTreeMap::new();
        for address in &pod.addresses {
            let Some((pair, doubt)) = self.pair_of(pod, *address) else {
                continue;
            };
            let carried = by_pair.entry(pair.host.ifindex).or_insert(Carried {
                pair,
                addresses: BTreeSet::new(),
                doubt: None,
            });
            carried.addresses.insert(*address);
            carried.doubt = carried.doubt.take().or(doubt);
        }
        let target = |carried: Carried<'_>| Target {
            certain: Arc::new(CertainTraffic::everything()),
            pod: Arc::clone(pod),
            pair: carried.pair.clone(),
            addresses: carried.addresses.into_iter().collect(),
            doubt: carried.doubt,
            policies: policies.to_vec(),
            wants_redirect: delivers(policies, Delivery::Redirect),
            wants_peer: delivers(policies, Delivery::Peer),
            wants_connections: policies.iter().any(|policy| policy.drops()),
        };
        by_pair.into_values().map(target).collect()
    }

    /// Returns the pair that carries the pod's address, and why that is not certain. `None`: no rule applies
    /// to the address, which is a problem.
    fn pair_of(&mut self, pod: &Pod, address: IpAddr) -> Option<(&'a Pair, Option<String>)> {
        let pairs = self.carriers.get(&address).map_or(&[][..], Vec::as_slice);
        let found = self.evidence.carrier(pod, address, pairs);
        let claims = self.claims.get(&address).map_or(&[][..], Vec::as_slice);
        let others: Vec<&Pod> = claims
            .iter()
            .copied()
            .filter(|other| !is_same(other, pod))
            .collect();
        if let Some(other) = others.first()
            && !found.is_some_and(|(pair, _)| self.evidence.prefers(pod, &others, address, pair))
        {
            self.problems.push(claimed_twice(pod, address, other));
            return None;
        }
        let Some((pair, witness)) = found else {
            self.problems.push(no_interface(pod, address));
            return None;
        };
        match witness {
            Witness::Alone => Some((pair, None)),
            Witness::Nothing => Some((pair, Some(in_doubt(address, pairs)))),
            decided => {
                self.notes.push(ambiguous(pod, address, pairs, (pair, decided)));
                Some((pair, None))
            }
        }
    }
}

fn is_same(a: &Pod, b: &Pod) -> bool {
    (&a.namespace, &a.name) == (&b.namespace, &b.name)
}

fn delivers(policies: &[Arc<Policy>], delivery: Delivery) -> bool {
    let mut redirecting = policies
        .iter()
        .filter(|policy| policy.redirects() && policy.redirect_permitted);
    redirecting.any(|policy| policy.delivery == delivery)
}
