//! Applies the limits: accepts pods and policies, and refuses those over a limit or over the share of their
//! namespace.
//!
//! `priority` orders the rules of a pod, and nothing here: what is programmed comes first, then the older
//! policy. Each namespace is judged for itself, and the result does not depend on what other namespaces ask
//! for, beyond its share.

mod pods;
mod search;
mod tenant;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use xdp_crds::conditions::node;

pub(super) use self::search::{Progress, Question};
use self::{
    search::{Found, Refused},
    tenant::Tenant,
};
use super::{
    Compiler, Key,
    compiled::Compiled,
    identity,
    known::{Known, Labels},
    limits::{Excess, Limit},
    shares::{Allotment, Demand, allot, sure},
    usage::{SHARED, Usage},
    work::Turn,
};
use crate::{
    network_policy::NotCertainReason,
    policy::Policy,
    report::Problem,
    targets::{Target, Targets},
};

/// Results of compilations, and of searches that refused something.
#[derive(Debug, Default)]
pub(super) struct Results {
    pub(super) compiled: BTreeMap<Key, Result<Arc<Compiled>, Excess>>,
    pub(super) searches: BTreeMap<Question, Progress>,
    /// The results to keep for the next turn.
    pub(super) retained: BTreeSet<Key>,
}

/// What is programmed of a namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct NamespaceRules {
    /// Its policies by name, with the numbers of their contents.
    pub(super) policies: BTreeMap<String, u64>,
    /// Labels of their rules.
    pub(super) labels: Vec<Labels>,
    pub(super) usage: Usage,
}

/// The accepted targets and policies.
#[derive(Default)]
pub(super) struct Accepted<'a> {
    /// Targets, in order.
    pub(super) targets: Vec<&'a Target>,
    /// Rules of the targets. `None`: no policy of the target is accepted.
    pub(super) rules_of: Vec<Option<Arc<Compiled>>>,
    pub(super) problems: Vec<Problem>,
    /// All that was looked up or compiled.
    pub(super) results: Results,
    /// What will be programmed, by namespace.
    pub(super) programmed: BTreeMap<String, NamespaceRules>,
    /// The namespaces whose policies are not all compiled yet.
    pub(super) pending: BTreeSet<String>,
}

/// A namespace, and what was found about its policies.
struct Judged<'a> {
    tenant: Tenant<'a>,
    /// The policies that would fit if the namespace were alone.
    alone: Vec<&'a Arc<Known>>,
    /// Those that would not.
    refused: Vec<Refused<'a>>,
    found: Found<'a>,
}

pub(super) fn accept<'a>(all: &'a Targets, compiler: &'a Compiler, turn: &mut Turn) -> Accepted<'a> {
    let mut accepted = Accepted::default();
    accepted.targets = pods::fitting(&all.targets, compiler, &mut accepted.problems);
    let mut judged = judge(&mut accepted, all, compiler, turn);
    share_out(&mut accepted.results, &mut judged, compiler, turn);
    judged.sort_by_key(|one| one.tenant.namespace);
    accepted.rules_of = vec![None; accepted.targets.len()];
    for one in judged {
        accepted.take(one, compiler);
    }
    accepted
}

/// Judges each namespace as if it were alone. Those who did the least in earlier turns come first, then those
/// with the fewest rules.
fn judge<'a>(
    accepted: &mut Accepted<'a>,
    all: &'a Targets,
    compiler: &'a Compiler,
    turn: &mut Turn,
) -> Vec<Judged<'a>> {
    let mut tenants = tenant::tenants(&accepted.targets, &all.policies, compiler);
    tenants.sort_by_key(|tenant| (compiler.served.units(tenant.namespace), tenant.size()));
    let most = Usage(SHARED.map(|limit| compiler.shares.most(limit.value())));
    let weight = |tenant: &Tenant<'_>| compiler.shares.weight(tenant.namespace);
    let weights = tenants.iter().map(|tenant| u64::from(weight(tenant))).sum();
    let mut search = |tenant: Tenant<'a>| {
        let candidates = tenant.candidates.clone();
        let mut found = tenant.search(candidates, &most, &mut accepted.results, turn);
        for refused in found
            .refused
            .iter_mut()
            .filter(|refused| refused.is_of_namespace())
        {
            let limit = refused.excess.limit;
            refused.share = Some(Allotment {
                sure: sure(limit.value(), most.of_limit(limit), (weight(&tenant), weights)),
                allowed: most.of_limit(limit),
            });
        }
        let mut judged = Judged {
            tenant,
            alone: found.kept.clone(),
            refused: std::mem::take(&mut found.refused),
            found,
        };
        judged.keep_programmed(compiler);
        judged
    };
    tenants.into_iter().map(&mut search).collect()
}

/// What a namespace may use of each shared limit.
type Allotments = [Allotment; SHARED.len()];

/// Makes room where the namespaces together need more than there is.
fn share_out(results: &mut Results, judged: &mut [Judged<'_>], compiler: &Compiler, turn: &mut Turn) {
    if exceeded(judged).next().is_none() {
        return;
    }
    let mut limited = Vec::new();
    for (position, allotments) in allotments(judged, compiler).into_iter().enumerate() {
        let one = &mut judged[position];
        let allowed = Usage(allotments.map(|one| one.allowed));
        if !one.found.pending && one.found.usage.check(&allowed).is_err() {
            one.limit(&allotments, compiler, results, turn);
            limited.push((position, allotments));
        }
    }
    // Policies are taken whole, so something may be left of what was allotted.
    limited.sort_by_key(|(position, _)| judged[*position].found.usage);
    for (position, mut allotments) in limited {
        if !judged[position].found.pending && lend(judged, position, &mut allotments, compiler) {
            judged[position].limit(&allotments, compiler, results, turn);
        }
    }
    wait_for_room(judged, compiler);
}

fn allotments(judged: &[Judged<'_>], compiler: &Compiler) -> Vec<Allotments> {
    let of_limits = SHARED.map(|limit| {
        let demands = judged.iter().map(|one| Demand {
            weight: compiler.shares.weight(one.tenant.namespace),
            held: compiler.usage(one.tenant.namespace).of_limit(limit),
            wanted: one.found.usage.of_limit(limit),
        });
        let demands: Vec<Demand> = demands.collect();
        allot(limit.value(), compiler.shares.most(limit.value()), &demands)
    });
    let of_namespace = |position: usize| of_limits.each_ref().map(|of_limit| of_limit[position]);
    (0..judged.len()).map(of_namespace).collect()
}

/// Allows a namespace what is free in addition to what it uses. Returns whether there is room at all.
fn lend(judged: &[Judged<'_>], position: usize, allotments: &mut Allotments, compiler: &Compiler) -> bool {
    for limit in SHARED {
        let Some(free) = limit.value().checked_sub(total(judged, limit)) else {
            return false;
        };
        let used = judged[position].found.usage.of_limit(limit);
        let most = compiler.shares.most(limit.value());
        allotments[limit as usize].allowed = (used + free).min(most);
    }
    true
}

/// A namespace that waits may have more than it is allotted. So those wait, too, that want more than they
/// have: the tables are never asked for more than there is.
fn wait_for_room(judged: &mut [Judged<'_>], compiler: &Compiler) {
    let limits: Vec<Limit> = exceeded(judged).collect();
    for one in judged {
        let programmed = compiler.usage(one.tenant.namespace);
        let grows = |limit: &Limit| one.found.usage.of_limit(*limit) > programmed.of_limit(*limit);
        one.found.pending |= limits.iter().any(grows);
    }
}

/// Returns the limits that the namespaces together exceed.
fn exceeded(judged: &[Judged<'_>]) -> impl Iterator<Item = Limit> {
    SHARED
        .into_iter()
        .filter(|limit| total(judged, *limit) > limit.value())
}

fn total(judged: &[Judged<'_>], limit: Limit) -> usize {
    judged.iter().map(|one| one.found.usage.of_limit(limit)).sum()
}

impl Judged<'_> {
    /// Counts what is programmed, if the search goes on in the next turn.
    fn keep_programmed(&mut self, compiler: &Compiler) {
        if self.found.pending {
            self.found.usage = compiler.usage(self.tenant.namespace);
        }
    }

    /// Searches again among what would fit alone, now within what is allotted.
    fn limit(
        &mut self,
        allotments: &Allotments,
        compiler: &Compiler,
        results: &mut Results,
        turn: &mut Turn,
    ) {
        let allowed = Usage(allotments.map(|one| one.allowed));
        self.found = self.tenant.search(self.alone.clone(), &allowed, results, turn);
        for refused in &mut self.found.refused {
            refused.share = Some(allotments[refused.excess.limit as usize]);
        }
        self.keep_programmed(compiler);
    }
}

impl<'a> Accepted<'a> {
    fn take(&mut self, judged: Judged<'a>, compiler: &Compiler) {
        let Judged { tenant, found, .. } = judged;
        if found.pending {
            self.wait(&tenant, compiler);
            return;
        }
        let refused = judged.refused.iter().chain(&found.refused);
        self.problems
            .extend(refused.map(|one| one.problem(tenant.namespace)));
        for (target, rules) in tenant.targets.iter().zip(found.rules) {
            if rules.as_ref().is_some_and(|rules| rules.redirects_nothing) {
                self.problems.push(redirects_nothing(self.targets[*target]));
            }
            self.rules_of[*target] = rules;
        }
        let policies = found
            .kept
            .iter()
            .map(|known| (known.policy.name.clone(), known.number));
        let programmed = NamespaceRules {
            policies: policies.collect(),
            labels: found.kept.iter().map(|known| Arc::clone(&known.labels)).collect(),
            usage: found.usage,
        };
        self.programmed.insert(tenant.namespace.to_owned(), programmed);
    }

    /// Leaves a namespace as it was until its rules are compiled. New pods get the programmed rules.
    fn wait(&mut self, tenant: &Tenant<'a>, compiler: &Compiler) {
        let namespace = tenant.namespace.to_owned();
        let programmed = compiler.programmed.get(&namespace).cloned().unwrap_or_default();
        let is_programmed =
            |known: &Arc<Known>| programmed.policies.get(&known.policy.name) == Some(&known.number);
        for (position, target) in tenant.targets.iter().enumerate() {
            let key = tenant.key(position, is_programmed);
            let known = || compiler.compiled.get(&key).cloned()?.ok();
            let before = compiler.last.get(&identity(self.targets[*target]));
            self.rules_of[*target] = before.cloned().or_else(known);
            let keys = tenant.keys(position, is_programmed);
            self.results.retained.extend(keys);
        }
        let others = tenant.candidates.iter().filter(|known| !is_programmed(known));
        self.problems.extend(others.map(|known| pending(&known.policy)));
        self.programmed.insert(namespace.clone(), programmed);
        self.pending.insert(namespace);
    }
}

fn redirects_nothing(target: &Target) -> Problem {
    Problem::new(
        target.pod.to_string(),
        NotCertainReason::TooManyRules.as_str(),
        "the NetworkPolicies that select the pod cut its sources and ports into more intervals than the tables of this \
         namespace have room for: nothing is redirected to the pod; all other rules act",
        "use fewer peers and ports in the NetworkPolicies that select the pod, or ask the administrator for a larger share",
    )
}

fn pending(policy: &Policy) -> Problem {
    Problem::new(
        policy.to_string(),
        node::PENDING,
        "the policies of this namespace are being compiled, some in each turn; until then its pods keep the programmed \
         rules",
        "wait; if this is often so, use fewer rules and networks for each pod",
    )
}
