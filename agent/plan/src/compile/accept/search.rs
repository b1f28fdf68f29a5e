//! Searches for the policies of a namespace that fit.

use std::sync::Arc;

use super::{
    super::{
        Key,
        known::Known,
        limits::Excess,
        shares::Allotment,
        usage::{SHARED, Usage},
        work::Turn,
    },
    Results,
    tenant::{Misfit, PodPolicies, RulesOf, Tenant},
};
use crate::report::Problem;

/// What a search found.
#[derive(Default)]
pub(super) struct Found<'a> {
    /// The policies that fit.
    pub(super) kept: Vec<&'a Arc<Known>>,
    /// The rules of the targets with these policies.
    pub(super) rules: RulesOf,
    pub(super) usage: Usage,
    pub(super) refused: Vec<Refused<'a>>,
    /// The search goes on in the next turn.
    pub(super) pending: bool,
}

/// A policy that does not fit.
pub(super) struct Refused<'a> {
    known: &'a Arc<Known>,
    pub(super) excess: Excess,
    /// The pod that exceeds it, for a limit per pod.
    pod: Option<String>,
    /// The share of the namespace, if that is exceeded.
    pub(super) share: Option<Allotment>,
}

impl Refused<'_> {
    /// Whether the policies of the namespace together exceed the limit, not those of one pod.
    pub(super) const fn is_of_namespace(&self) -> bool {
        self.pod.is_none()
    }

    pub(super) fn problem(&self, namespace: &str) -> Problem {
        match &self.share {
            None => self.excess.problem(&self.known.policy, self.pod.as_deref()),
            Some(share) => self.excess.of_share(&self.known.policy, (namespace, *share)),
        }
    }
}

/// All that the result of a search depends on.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) struct Question {
    /// Numbers of the candidates, in order.
    candidates: Vec<u64>,
    /// The pods' rules with all candidates.
    pods: Vec<Key>,
    allowed: Usage,
}

/// The candidates that do not fit, by number, and for a limit per pod the pod that exceeds it.
pub(in crate::compile) type Answer = Vec<(u64, Excess, Option<String>)>;

/// Networks and rules up to which all candidates are tried at once, although nothing is known of them.
const FIRST: usize = 1 << 15;

impl<'a> Tenant<'a> {
    /// Searches the candidates for those that fit together, in order: one that does not fit is left out.
    pub(super) fn search(
        &self,
        candidates: Vec<&'a Arc<Known>>,
        allowed: &Usage,
        results: &mut Results,
        turn: &mut Turn,
    ) -> Found<'a> {
        let question = Question {
            candidates: candidates.iter().map(|known| known.number).collect(),
            pods: self.pods.iter().map(|pod| pod.key(|_| true)).collect(),
            allowed: *allowed,
        };
        if let Some(answer) = self.compiler.searches.get(&question)
            && let Some(found) = self.answered(&candidates, answer, results, turn)
        {
            results.searches.insert(question, answer.clone());
            return found;
        }
        let found = self.search_again(candidates, allowed, results, turn);
        if !found.pending && !found.refused.is_empty() {
            let refused = found.refused.iter();
            let answer = refused.map(|one| (one.known.number, one.excess, one.pod.clone()));
            results.searches.insert(question, answer.collect());
        }
        found
    }

    /// Returns what an earlier search found.
    fn answered(
        &self,
        candidates: &[&'a Arc<Known>],
        answer: &Answer,
        results: &mut Results,
        turn: &mut Turn,
    ) -> Option<Found<'a>> {
        let (mut kept, mut refused) = (Vec::new(), Vec::new());
        for &known in candidates {
            match answer.iter().find(|(number, ..)| *number == known.number) {
                None => kept.push(known),
                Some((_, excess, pod)) => refused.push(Refused {
                    known,
                    excess: *excess,
                    pod: pod.clone(),
                    share: None,
                }),
            }
        }
        let everything = Usage([usize::MAX; SHARED.len()]);
        let (rules, usage) = self.fit(&kept, &everything, results, turn).ok()?;
        Some(Found {
            kept,
            rules,
            usage,
            refused,
            pending: false,
        })
    }

    /// Returns how many candidates to try first: all, if they are few or their rules are known.
    fn first_step(&self, candidates: &[&Arc<Known>], results: &Results) -> usize {
        let is_known = |pod: &PodPolicies<'_>| {
            let key = pod.key(|_| true);
            results.compiled.contains_key(&key) || self.compiler.compiled.contains_key(&key)
        };
        if self.pods.iter().all(is_known) {
            return candidates.len();
        }
        let mut size = 0;
        let few = candidates.iter().take_while(|known| {
            size += known.size;
            size <= FIRST
        });
        few.count()
    }

    /// More policies never need less room. So the first misfit is found in steps that double or halve, and
    /// after it the next candidates are tried alone first: where many do not fit, each costs one trial.
    fn search_again(
        &self,
        candidates: Vec<&'a Arc<Known>>,
        allowed: &Usage,
        results: &mut Results,
        turn: &mut Turn,
    ) -> Found<'a> {
        let mut found = Found {
            rules: vec![None; self.targets.len()],
            ..Found::default()
        };
        let mut rest = candidates;
        let (mut step, mut misfit_at): (usize, Option<usize>) = (self.first_step(&rest, results), None);
        while !rest.is_empty() {
            let count = step.clamp(1, misfit_at.unwrap_or(rest.len()).min(rest.len()));
            let chosen: Vec<_> = found.kept.iter().chain(&rest[..count]).copied().collect();
            match self.fit(&chosen, allowed, results, turn) {
                Ok((rules, usage)) => {
                    (found.rules, found.usage, found.kept) = (rules, usage, chosen);
                    rest.drain(..count);
                    misfit_at = misfit_at.map(|at| at - count);
                    step = misfit_at.map_or(2 * count, |at| at / 2);
                }
                Err(Misfit::Pending) => {
                    found.pending = true;
                    return found;
                }
                Err(Misfit::Excess { excess, pod }) if count == 1 => {
                    found.refused.push(Refused {
                        known: rest.remove(0),
                        excess,
                        pod,
                        share: None,
                    });
                    (step, misfit_at) = (1, None);
                }
                Err(Misfit::Excess { .. }) => (step, misfit_at) = (count / 2, Some(count)),
            }
        }
        found
    }

    /// Returns what the programmed policies use.
    pub(super) fn held_usage(&self, found: &Found<'a>, results: &mut Results, turn: &mut Turn) -> Usage {
        let is_held = |known: &&&Arc<Known>| self.compiler.is_held(&known.policy);
        let held: Vec<_> = found.kept.iter().filter(is_held).copied().collect();
        if held.len() == found.kept.len() {
            return found.usage;
        }
        let everything = Usage([usize::MAX; SHARED.len()]);
        let fit = self.fit(&held, &everything, results, turn);
        fit.map_or_else(|_| Usage::default(), |(_, usage)| usage)
    }
}
