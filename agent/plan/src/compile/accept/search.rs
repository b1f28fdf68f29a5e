//! Searches for the policies of a namespace that fit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    super::{Key, known::Known, limits::Excess, shares::Allotment, usage::Usage, work::Turn},
    Results,
    tenant::{Misfit, RulesOf, Tenant},
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

/// How far a search has come. It goes on there in the next turn.
#[derive(Clone, Debug)]
pub(in crate::compile) struct Progress {
    /// Numbers of the candidates that fit.
    kept: BTreeSet<u64>,
    /// Those that do not fit, and for a limit per pod the pod that exceeds it.
    refused: BTreeMap<u64, (Excess, Option<String>)>,
    step: usize,
    misfit_at: Option<usize>,
}

/// Networks and rules up to which all candidates are tried at once, although nothing is known of them.
const FIRST: usize = 1 << 15;

/// A search that goes on.
struct Search<'a> {
    found: Found<'a>,
    /// Candidates that are not judged yet.
    rest: Vec<&'a Arc<Known>>,
    /// How many to try next.
    step: usize,
    /// The smallest number that is known not to fit.
    misfit_at: Option<usize>,
}

impl<'a> Search<'a> {
    fn resume(candidates: Vec<&'a Arc<Known>>, progress: &Progress) -> Self {
        let mut search = Self {
            found: Found::default(),
            rest: Vec::new(),
            step: progress.step,
            misfit_at: progress.misfit_at,
        };
        for known in candidates {
            if progress.kept.contains(&known.number) {
                search.found.kept.push(known);
            } else if let Some((excess, pod)) = progress.refused.get(&known.number) {
                search.refuse(known, *excess, pod.clone());
            } else {
                search.rest.push(known);
            }
        }
        search
    }

    fn refuse(&mut self, known: &'a Arc<Known>, excess: Excess, pod: Option<String>) {
        self.found.refused.push(Refused {
            known,
            excess,
            pod,
            share: None,
        });
    }

    fn progress(&self) -> Progress {
        let refused = self.found.refused.iter();
        Progress {
            kept: self.found.kept.iter().map(|known| known.number).collect(),
            refused: refused
                .map(|one| (one.known.number, (one.excess, one.pod.clone())))
                .collect(),
            step: self.step,
            misfit_at: self.misfit_at,
        }
    }

    /// The candidates to try next, with those that fit.
    fn next(&self) -> (usize, Vec<&'a Arc<Known>>) {
        let most = self.misfit_at.unwrap_or(self.rest.len()).min(self.rest.len());
        let count = self.step.clamp(1, most);
        let chosen = self.found.kept.iter().chain(&self.rest[..count]);
        (count, chosen.copied().collect())
    }
}

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
            pods: (0..self.pods.len()).map(|pod| self.key(pod, |_| true)).collect(),
            allowed: *allowed,
        };
        let mut search = match self.compiler.searches.get(&question) {
            Some(progress) => Search::resume(candidates, progress),
            None => Search {
                found: Found::default(),
                step: self.first_step(&candidates, results),
                rest: candidates,
                misfit_at: None,
            },
        };
        self.go_on(&mut search, allowed, results, turn);
        if search.found.pending || !search.found.refused.is_empty() {
            results.searches.insert(question, search.progress());
        }
        let kept: BTreeSet<u64> = search.found.kept.iter().map(|known| known.number).collect();
        for pod in 0..self.pods.len() {
            let keys = self.keys(pod, |known| kept.contains(&known.number));
            results.retained.extend(keys);
        }
        search.found
    }

    /// Returns how many candidates to try first: all, if they are few or their rules are known.
    fn first_step(&self, candidates: &[&Arc<Known>], results: &Results) -> usize {
        let is_known = |pod| {
            let key = self.key(pod, |_| true);
            results.compiled.contains_key(&key) || self.compiler.compiled.contains_key(&key)
        };
        if (0..self.pods.len()).all(is_known) {
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
    fn go_on(&self, search: &mut Search<'a>, allowed: &Usage, results: &mut Results, turn: &mut Turn) {
        search.found.rules = vec![None; self.targets.len()];
        if !search.found.kept.is_empty() {
            match self.fit(&search.found.kept, allowed, results, turn) {
                Ok((rules, usage)) => (search.found.rules, search.found.usage) = (rules, usage),
                Err(_) => search.found.pending = true,
            }
        }
        let mut is_first = true;
        while !search.rest.is_empty() && !search.found.pending {
            let (count, chosen) = search.next();
            let look_ups = chosen.len() * self.pods.len() / 8;
            let fit = if is_first || turn.allows(self.namespace, look_ups) {
                turn.charge(self.namespace, look_ups);
                self.fit(&chosen, allowed, results, turn)
            } else {
                Err(Misfit::Pending)
            };
            is_first = false;
            match fit {
                Ok((rules, usage)) => {
                    (search.found.rules, search.found.usage, search.found.kept) = (rules, usage, chosen);
                    search.rest.drain(..count);
                    search.misfit_at = search.misfit_at.map(|at| at - count);
                    search.step = search.misfit_at.map_or(2 * count, |at| at / 2);
                }
                Err(Misfit::Pending) => search.found.pending = true,
                Err(Misfit::Excess { excess, pod }) if count == 1 => {
                    let known = search.rest.remove(0);
                    search.refuse(known, excess, pod);
                    (search.step, search.misfit_at) = (1, None);
                }
                Err(Misfit::Excess { .. }) => (search.step, search.misfit_at) = (count / 2, Some(count)),
            }
        }
    }
}
