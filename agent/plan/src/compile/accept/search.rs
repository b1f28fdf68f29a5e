//! Searches for the policies that do not fit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::super::{
    Compiler, Key,
    build::build,
    compiled::Compiled,
    known::Known,
    limits::{Excess, Limit},
};
use crate::{report::Problem, targets::Target};

/// Rules by target.
type RulesOf = Vec<Option<Arc<Compiled>>>;

/// Compiles the rules of targets with a subset of their policies.
pub(super) struct Search<'a> {
    targets: &'a [&'a Target],
    /// Policies of each target, in order.
    policies: Vec<Vec<&'a Arc<Known>>>,
    compiler: &'a Compiler,
    /// All rules that this search used, whether cached or compiled.
    pub(super) compiled: BTreeMap<Key, Result<Arc<Compiled>, Excess>>,
}

/// The exceeded limit of a list of policies, and the pod that exceeds it, for a limit per pod.
struct Misfit {
    excess: Excess,
    pod: Option<String>,
}

impl<'a> Search<'a> {
    pub(super) fn new(targets: &'a [&'a Target], compiler: &'a Compiler) -> Self {
        let known = |target: &&Target| {
            let policies = target.policies.iter();
            policies.filter_map(|policy| compiler.known(policy)).collect()
        };
        Self {
            targets,
            policies: targets.iter().map(known).collect(),
            compiler,
            compiled: BTreeMap::new(),
        }
    }

    /// Removes the policies that do not fit from `kept`, and compiles the rest.
    ///
    /// More policies never need less room, so a binary search finds the first one that does not fit.
    pub(super) fn narrow(&mut self, kept: &mut Vec<&'a Arc<Known>>, problems: &mut Vec<Problem>) -> RulesOf {
        let mut fitting = 0;
        loop {
            let mut misfit = match self.fit(kept) {
                Ok(rules) => return rules,
                Err(misfit) => misfit,
            };
            let mut excessive = kept.len();
            while excessive > fitting + 1 {
                let middle = fitting.midpoint(excessive);
                match self.fit(&kept[..middle]) {
                    Ok(_) => fitting = middle,
                    Err(smaller) => (excessive, misfit) = (middle, smaller),
                }
            }
            let refused = kept.remove(excessive - 1);
            let problem = misfit.excess.problem(&refused.policy, misfit.pod.as_deref());
            problems.push(problem);
        }
    }

    fn fit(&mut self, policies: &[&Arc<Known>]) -> Result<RulesOf, Misfit> {
        let chosen: BTreeSet<u64> = policies.iter().map(|known| known.number).collect();
        let mut all = Vec::new();
        for index in 0..self.targets.len() {
            let policies: Vec<&Arc<Known>> = self.policies[index]
                .iter()
                .copied()
                .filter(|known| chosen.contains(&known.number))
                .collect();
            let rules = (!policies.is_empty()).then(|| self.rules(index, &policies));
            all.push(rules.transpose()?);
        }
        match check(all.iter().flatten()) {
            Ok(()) => Ok(all),
            Err(excess) => Err(Misfit { excess, pod: None }),
        }
    }

    fn rules(&mut self, index: usize, policies: &[&Arc<Known>]) -> Result<Arc<Compiled>, Misfit> {
        let named = &self.targets[index].pod.ports;
        let key = Key {
            policies: policies.iter().map(|known| known.number).collect(),
            ports: policies.iter().flat_map(|known| known.ports(named)).collect(),
        };
        let before = &self.compiler.compiled;
        let compiled = self.compiled.entry(key).or_insert_with_key(|key| {
            let before = before.get(key).cloned();
            before.unwrap_or_else(|| build(policies, named).map(Arc::new))
        });
        compiled.clone().map_err(|excess| Misfit {
            excess,
            pod: Some(self.targets[index].pod.to_string()),
        })
    }
}

/// Checks the limits of the node. Pods with the same rules share their blocks.
fn check<'a>(all: impl Iterator<Item = &'a Arc<Compiled>>) -> Result<(), Excess> {
    let distinct: BTreeMap<*const Compiled, &Arc<Compiled>> =
        all.map(|compiled| (Arc::as_ptr(compiled), compiled)).collect();
    let sum = |count: fn(&Compiled) -> usize| distinct.values().map(|compiled| count(compiled)).sum();
    Limit::SourcesV4.check(sum(|compiled| compiled.sources_v4.len()))?;
    Limit::SourcesV6.check(sum(|compiled| compiled.sources_v6.len()))?;
    Limit::Classes.check(sum(|compiled| compiled.classes.len()))?;
    Limit::PortBlocks.check(sum(Compiled::port_blocks))?;
    // This sum counts a rule once per pod, so it is too high if pods share policies. It is fast to compute.
    if Limit::Actions.check(sum(|compiled| compiled.rules.len())).is_ok() {
        return Ok(());
    }
    let rules = distinct.values().flat_map(|compiled| &compiled.rules);
    let rules: BTreeSet<_> = rules.map(Arc::as_ptr).collect();
    Limit::Actions.check(rules.len())
}
