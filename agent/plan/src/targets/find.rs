//! Matches pods with policies by labels, and with veth pairs by addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{Target, Targets};
use crate::{
    facts::{NodeFacts, Pair},
    pod::Pod,
    policy::{Delivery, Policy},
    report::Problem,
};

pub(super) fn find(policies: &[Arc<Policy>], pods: &[Arc<Pod>], facts: &NodeFacts) -> Targets {
    let mut problems = Vec::new();
    let policies = ordered(policies, &mut problems);
    let pods = distinct(pods, &mut problems);
    let search = Search {
        carriers: carriers(facts),
        claims: claims(&pods),
    };
    let selectors = Selectors::new(&policies);
    let mut targets = Vec::new();
    for pod in pods {
        let selecting = selectors.of(pod);
        if !selecting.is_empty() && pod.owns_addresses() {
            targets.extend(search.targets_of(pod, &selecting, &mut problems));
        }
    }
    targets.sort_by(|a, b| key(a).cmp(&key(b)));
    Targets {
        targets,
        policies,
        problems,
    }
}

fn key(target: &Target) -> (&str, &str, u32) {
    (&target.pod.namespace, &target.pod.name, target.pair.host.ifindex)
}

/// Policies by a label that they require, so that a pod is compared with few policies.
struct Selectors<'a> {
    policies: &'a [Arc<Policy>],
    /// Positions of policies that require a label with this value, by namespace, key and value.
    by_label: BTreeMap<(&'a str, &'a str, &'a str), Vec<usize>>,
    /// Positions of the other policies, by namespace.
    others: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Selectors<'a> {
    fn new(policies: &'a [Arc<Policy>]) -> Self {
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

    /// Returns the policies that select the pod, in their order.
    fn of(&self, pod: &Pod) -> Vec<Arc<Policy>> {
        let namespace = pod.namespace.as_str();
        let labelled = pod.labels.iter();
        let labelled = labelled.filter_map(|(key, value)| self.by_label.get(&(namespace, &**key, &**value)));
        let mut positions: Vec<usize> = labelled
            .chain(self.others.get(namespace))
            .flatten()
            .copied()
            .collect();
        positions.sort_unstable();
        let policies = positions.into_iter().map(|position| &self.policies[position]);
        let selecting = policies.filter(|policy| policy.selector.matches(&pod.labels));
        selecting.cloned().collect()
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

fn given_twice(object: String) -> Problem {
    Problem::new(
        object,
        "GivenTwice",
        "there is an earlier object of this kind, namespace and name; this one is left out",
        "remove or rename one of them",
    )
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
}

impl Search<'_> {
    fn targets_of(
        &self,
        pod: &Arc<Pod>,
        policies: &[Arc<Policy>],
        problems: &mut Vec<Problem>,
    ) -> Vec<Target> {
        if pod.addresses.is_empty() {
            problems.push(no_address(pod));
        }
        let mut by_pair: BTreeMap<u32, (&Pair, BTreeSet<IpAddr>)> = BTreeMap::new();
        for address in &pod.addresses {
            match self.pair_of(pod, *address) {
                Ok(pair) => {
                    let found = by_pair
                        .entry(pair.host.ifindex)
                        .or_insert((pair, BTreeSet::new()));
                    found.1.insert(*address);
                }
                Err(problem) => problems.push(problem),
            }
        }
        let target = |(pair, addresses): (&Pair, BTreeSet<IpAddr>)| Target {
            pod: Arc::clone(pod),
            pair: pair.clone(),
            addresses: addresses.into_iter().collect(),
            policies: policies.to_vec(),
            wants_redirect: delivers(policies, Delivery::Redirect),
            wants_peer: delivers(policies, Delivery::Peer),
        };
        by_pair.into_values().map(target).collect()
    }

    fn pair_of(&self, pod: &Pod, address: IpAddr) -> Result<&Pair, Problem> {
        let claims = self.claims.get(&address).map_or(&[][..], Vec::as_slice);
        if let Some(other) = claims.iter().find(|other| other.to_string() != pod.to_string()) {
            return Err(claimed_twice(pod, address, other));
        }
        match self.carriers.get(&address).map_or(&[][..], Vec::as_slice) {
            [pair] => Ok(pair),
            [] => Err(no_interface(pod, address)),
            pairs => Err(ambiguous(pod, address, pairs)),
        }
    }
}

fn delivers(policies: &[Arc<Policy>], delivery: Delivery) -> bool {
    let mut redirecting = policies.iter().filter(|policy| policy.redirects());
    redirecting.any(|policy| policy.delivery == delivery)
}

fn no_address(pod: &Pod) -> Problem {
    Problem::new(
        pod.to_string(),
        "NoAddress",
        "a policy selects the pod, but `status.podIPs` and `status.podIP` are empty",
        "wait until the pod has an address; in a manifest, write it to `status.podIPs`",
    )
}

fn claimed_twice(pod: &Pod, address: IpAddr, other: &Pod) -> Problem {
    Problem::new(
        pod.to_string(),
        "AddressClaimedTwice",
        format!("{other} has the same address {address}; no rule applies to packets for it"),
        "remove the pod that is gone, or correct the address",
    )
}

fn no_interface(pod: &Pod, address: IpAddr) -> Problem {
    Problem::new(
        pod.to_string(),
        "NoInterface",
        format!("no interface behind a pair of this host carries the pod's address {address}"),
        "if the pod is starting, wait; otherwise check that it runs on this node and is connected by a veth pair",
    )
}

fn ambiguous(pod: &Pod, address: IpAddr, pairs: &[&Pair]) -> Problem {
    let names: Vec<&str> = pairs.iter().map(|pair| pair.host.name.as_str()).collect();
    Problem::new(
        pod.to_string(),
        "AmbiguousAddress",
        format!(
            "the pod's address {address} is carried by the interfaces behind {}; no rule applies to packets for it",
            names.join(" and ")
        ),
        "remove the address from all but one of them",
    )
}
