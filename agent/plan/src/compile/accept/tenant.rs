//! One namespace: its targets and policies, and what they take when they are compiled.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    super::{
        Compiler, Key, build::Prepared, certainties::Certainties, compiled::Compiled, known::Known,
        limits::Excess, usage::Usage, work::Turn,
    },
    Results,
};
use crate::{network_policy::CertainTraffic, policy::Policy, targets::Target};

/// A namespace's targets and policies.
pub(super) struct Tenant<'a> {
    pub(super) namespace: &'a str,
    pub(super) compiler: &'a Compiler,
    /// Positions of its targets among all accepted ones.
    pub(super) targets: Vec<usize>,
    /// What the targets call themselves, their named ports, and their policies in the order of the rules.
    pub(super) pods: Vec<PodPolicies<'a>>,
    /// The policies: programmed ones first, then in their order.
    pub(super) candidates: Vec<&'a Arc<Known>>,
}

pub(super) struct PodPolicies<'a> {
    target: &'a Target,
    policies: Vec<&'a Arc<Known>>,
}

/// Rules by target.
pub(super) type RulesOf = Vec<Option<Arc<Compiled>>>;

/// How exactly rules follow what is certainly allowed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// By intervals of sources and ports.
    Intervals,
    /// Nothing is certain for a pod, unless everything is.
    Nothing,
}

/// Why policies do not fit.
pub(super) enum Misfit {
    Excess {
        excess: Excess,
        pod: Option<String>,
    },
    /// It is not known in this turn whether they fit.
    Pending,
}

/// Groups targets by namespace. All policies of a pod are of its namespace.
pub(super) fn tenants<'a>(
    targets: &[&'a Target],
    policies: &'a [Arc<Policy>],
    compiler: &'a Compiler,
) -> Vec<Tenant<'a>> {
    let mut tenants: BTreeMap<&str, Tenant<'a>> = BTreeMap::new();
    let mut used = BTreeSet::new();
    for (position, target) in targets.iter().enumerate() {
        let namespace = target.pod.namespace.as_str();
        let tenant = tenants.entry(namespace).or_insert_with(|| Tenant {
            namespace,
            compiler,
            targets: Vec::new(),
            pods: Vec::new(),
            candidates: Vec::new(),
        });
        used.extend(target.policies.iter().map(Arc::as_ptr));
        let known = target.policies.iter().filter_map(|policy| compiler.known(policy));
        tenant.targets.push(position);
        tenant.pods.push(PodPolicies {
            target,
            policies: known.collect(),
        });
    }
    for policy in policies
        .iter()
        .filter(|policy| used.contains(&Arc::as_ptr(policy)))
    {
        if let (Some(tenant), Some(known)) =
            (tenants.get_mut(policy.namespace.as_str()), compiler.known(policy))
        {
            tenant.candidates.push(known);
        }
    }
    for tenant in tenants.values_mut() {
        let age = |known: &&Arc<Known>| {
            let policy = &known.policy;
            (
                !compiler.is_held(policy),
                policy.created.clone(),
                policy.name.clone(),
            )
        };
        tenant.candidates.sort_by_cached_key(age);
    }
    tenants.into_values().collect()
}

impl<'a> Tenant<'a> {
    /// Returns how much there is to compile, roughly.
    pub(super) fn size(&self) -> usize {
        self.candidates.iter().map(|known| known.size).sum()
    }

    /// Compiles the rules of the targets with these policies. They are checked before they are compiled, as
    /// far as that is possible.
    ///
    /// If they fit only without the intervals of what is certainly allowed, nothing is redirected to the pods
    /// that these restrict: all other rules act.
    pub(super) fn fit(
        &self,
        policies: &[&'a Arc<Known>],
        allowed: &Usage,
        results: &mut Results,
        turn: &mut Turn,
    ) -> Result<(RulesOf, Usage), Misfit> {
        match self.fit_as(Detail::Intervals, policies, allowed, results, turn) {
            Err(Misfit::Excess { .. }) if self.is_restricted() => {
                self.fit_as(Detail::Nothing, policies, allowed, results, turn)
            }
            fits_or_not => fits_or_not,
        }
    }

    /// Whether policies restrict redirects to a pod.
    fn is_restricted(&self) -> bool {
        self.pods.iter().any(|pod| !pod.target.certain.is_everything())
    }

    fn fit_as(
        &self,
        detail: Detail,
        policies: &[&'a Arc<Known>],
        allowed: &Usage,
        results: &mut Results,
        turn: &mut Turn,
    ) -> Result<(RulesOf, Usage), Misfit> {
        let of_node = |excess| Misfit::Excess { excess, pod: None };
        let rules = policies.iter().map(|known| known.labels.len()).sum();
        Usage::of(rules, std::iter::empty())
            .check(allowed)
            .map_err(of_node)?;
        let chosen: BTreeSet<u64> = policies.iter().map(|known| known.number).collect();
        let mut all = Vec::new();
        for pod in &self.pods {
            let policies = pod.chosen(|known| chosen.contains(&known.number));
            let compiled =
                (!policies.is_empty()).then(|| self.compile(detail, pod, &policies, results, turn));
            all.push(compiled.transpose()?);
        }
        let usage = Usage::of(rules, all.iter().flatten());
        usage.check(allowed).map_err(of_node)?;
        Ok((all, usage))
    }

    fn compile(
        &self,
        detail: Detail,
        pod: &PodPolicies<'_>,
        policies: &[&Arc<Known>],
        results: &mut Results,
        turn: &mut Turn,
    ) -> Result<Arc<Compiled>, Misfit> {
        let key = self.key_of(detail, pod.target, policies);
        let known = results.compiled.get(&key);
        let result = match known.or_else(|| self.compiler.compiled.get(&key)) {
            Some(result) => result.clone(),
            None => self.build(detail, policies, pod.target, turn)?,
        };
        results.compiled.insert(key, result.clone());
        result.map_err(|excess| Misfit::Excess {
            excess,
            pod: Some(pod.target.pod.to_string()),
        })
    }

    /// Compiles in this turn, or not yet.
    fn build(
        &self,
        detail: Detail,
        policies: &[&Arc<Known>],
        target: &Target,
        turn: &mut Turn,
    ) -> Result<Result<Arc<Compiled>, Excess>, Misfit> {
        let size = policies.iter().map(|known| known.size).sum();
        if !turn.allows(self.namespace, size) {
            return Err(Misfit::Pending);
        }
        let nothing = CertainTraffic::none();
        let certain = match detail {
            Detail::Nothing if !target.certain.is_everything() => &nothing,
            Detail::Nothing | Detail::Intervals => &target.certain,
        };
        let prepared = Prepared::new(policies, &target.pod.ports, certain);
        let units = prepared.as_ref().map_or(0, |prepared| prepared.cost.units());
        let allows = turn.allows(self.namespace, units);
        turn.charge(self.namespace, if allows { size + units } else { size });
        match prepared {
            Ok(_) if !allows => Err(Misfit::Pending),
            Ok(prepared) => {
                turn.note(self.namespace, size + units);
                let redirects_nothing = detail == Detail::Nothing && !target.certain.is_everything();
                let compiled = prepared.build().map(|compiled| Compiled {
                    redirects_nothing,
                    ..compiled
                });
                Ok(compiled.map(Arc::new))
            }
            Err(excess) => {
                turn.note(self.namespace, size);
                Ok(Err(excess))
            }
        }
    }

    /// Returns the key of a target's rules with some of its policies.
    pub(super) fn key(&self, position: usize, is_chosen: impl Fn(&Arc<Known>) -> bool) -> Key {
        let pod = &self.pods[position];
        self.key_of(Detail::Intervals, pod.target, &pod.chosen(is_chosen))
    }

    /// Returns the keys in all details.
    pub(super) fn keys(&self, position: usize, is_chosen: impl Fn(&Arc<Known>) -> bool) -> [Key; 2] {
        let pod = &self.pods[position];
        let policies = pod.chosen(is_chosen);
        [Detail::Intervals, Detail::Nothing].map(|detail| self.key_of(detail, pod.target, &policies))
    }

    fn key_of(&self, detail: Detail, target: &Target, policies: &[&Arc<Known>]) -> Key {
        let restricted = policies.iter().any(|known| known.policy.is_restricted());
        let certain = match self.compiler.certainty.number(&target.certain) {
            _ if !restricted => 0,
            0 => 0,
            _ if detail == Detail::Nothing => Certainties::NOTHING,
            number => number,
        };
        let named = &target.pod.ports;
        Key {
            policies: policies.iter().map(|known| known.number).collect(),
            ports: policies.iter().flat_map(|known| known.ports(named)).collect(),
            certain,
        }
    }
}

impl<'a> PodPolicies<'a> {
    fn chosen(&self, is_chosen: impl Fn(&Arc<Known>) -> bool) -> Vec<&'a Arc<Known>> {
        let policies = self.policies.iter().copied();
        policies.filter(|known| is_chosen(known)).collect()
    }
}
