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

pub(super) use self::search::{Answer, Question};
use self::{search::Found, tenant::Tenant};
use super::{
    Compiler, Key,
    compiled::Compiled,
    identity,
    known::{Known, Labels},
    limits::Excess,
    shares::{Allotment, Demand, allot, sure},
    usage::{SHARED, Usage},
    work::Turn,
};
use crate::{
    policy::Policy,
    report::Problem,
    targets::{Target, Targets},
};

/// Results of compilations, and of searches that refused something.
#[derive(Debug, Default)]
pub(super) struct Results {
    pub(super) compiled: BTreeMap<Key, Result<Arc<Compiled>, Excess>>,
    pub(super) searches: BTreeMap<Question, Answer>,
}

/// The accepted targets and policies.
#[derive(Default)]
pub(super) struct Accepted<'a> {
    /// Targets, in order.
    pub(super) targets: Vec<&'a Target>,
    /// Rules of the targets. `None`: no policy of the target is accepted.
    pub(super) rules_of: Vec<Option<Arc<Compiled>>>,
    /// Rules with counters, by policy.
    pub(super) counted: Vec<Labels>,
    pub(super) problems: Vec<Problem>,
    /// All that was looked up, or found again.
    pub(super) results: Results,
    /// The accepted policies, with the numbers of their contents.
    pub(super) policies: Vec<((String, String), u64)>,
    /// The namespaces whose policies are not all compiled yet.
    pub(super) pending: BTreeSet<String>,
}

/// A namespace, and what was found about its policies.
struct Judged<'a> {
    tenant: Tenant<'a>,
    found: Found<'a>,
}

pub(super) fn accept<'a>(all: &'a Targets, compiler: &'a Compiler, turn: &mut Turn) -> Accepted<'a> {
    let mut accepted = Accepted::default();
    accepted.targets = pods::fitting(&all.targets, compiler, &mut accepted.problems);
    let mut judged = judge(&mut accepted, all, compiler, turn);
    share_out(&mut accepted.results, &mut judged, compiler, turn);
    judged.sort_by_key(|one| one.tenant.namespace);
    accepted.rules_of = vec![None; accepted.targets.len()];
    for Judged { tenant, found } in judged {
        accepted.take(&tenant, found, compiler);
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
        Judged { tenant, found }
    };
    tenants.into_iter().map(&mut search).collect()
}

/// Makes room where the namespaces together need more than there is.
fn share_out(results: &mut Results, judged: &mut [Judged<'_>], compiler: &Compiler, turn: &mut Turn) {
    let total = |index: usize| judged.iter().map(|one| one.found.usage.0[index]).sum::<usize>();
    if (0..SHARED.len()).all(|index| total(index) <= SHARED[index].value()) {
        return;
    }
    let held: Vec<Usage> = judged
        .iter()
        .map(|one| one.tenant.held_usage(&one.found, results, turn))
        .collect();
    let allotted = SHARED.map(|limit| {
        let index = limit as usize;
        let demands = judged.iter().zip(&held).map(|(one, held)| Demand {
            weight: compiler.shares.weight(one.tenant.namespace),
            held: held.0[index].min(one.found.usage.0[index]),
            wanted: one.found.usage.0[index],
        });
        let demands: Vec<Demand> = demands.collect();
        allot(limit.value(), compiler.shares.most(limit.value()), &demands)
    });
    for (position, one) in judged.iter_mut().enumerate() {
        let allotments = allotted.each_ref().map(|of_limit| of_limit[position]);
        let allowed = Usage(allotments.map(|one| one.allowed));
        if one.found.usage.check(&allowed).is_err() {
            one.limit(&allotments, &allowed, results, turn);
        }
    }
}

impl Judged<'_> {
    /// Searches again among what was found to fit, now within what is allotted.
    fn limit(
        &mut self,
        allotments: &[Allotment; SHARED.len()],
        allowed: &Usage,
        results: &mut Results,
        turn: &mut Turn,
    ) {
        let kept = std::mem::take(&mut self.found.kept);
        let mut found = self.tenant.search(kept, allowed, results, turn);
        for refused in &mut found.refused {
            refused.share = Some(allotments[refused.excess.limit as usize]);
        }
        found.refused.splice(..0, self.found.refused.drain(..));
        found.pending |= self.found.pending;
        self.found = found;
    }
}

impl<'a> Accepted<'a> {
    fn take(&mut self, tenant: &Tenant<'a>, found: Found<'a>, compiler: &Compiler) {
        if found.pending {
            self.wait(tenant, compiler);
            return;
        }
        let refused = found.refused.iter();
        self.problems
            .extend(refused.map(|one| one.problem(tenant.namespace)));
        for (target, rules) in tenant.targets.iter().zip(found.rules) {
            self.rules_of[*target] = rules;
        }
        self.counted
            .extend(found.kept.iter().map(|known| Arc::clone(&known.labels)));
        self.policies
            .extend(found.kept.iter().map(|known| (name(&known.policy), known.number)));
    }

    /// Leaves a namespace as it was until its rules are compiled. New pods get the programmed rules.
    fn wait(&mut self, tenant: &Tenant<'a>, compiler: &Compiler) {
        self.pending.insert(tenant.namespace.to_owned());
        let is_programmed =
            |known: &Arc<Known>| compiler.admitted.get(&name(&known.policy)) == Some(&known.number);
        for (position, target) in tenant.targets.iter().enumerate() {
            let identity = identity(self.targets[*target]);
            let before = compiler.last.get(&identity).cloned();
            let known = || {
                let key = tenant.key(position, is_programmed);
                compiler.compiled.get(&key).cloned()?.ok()
            };
            self.rules_of[*target] = before.or_else(known);
            let labels = self.rules_of[*target]
                .iter()
                .map(|rules| rules.rules.iter().cloned().collect());
            self.counted.extend(labels);
        }
        let held = tenant.candidates.iter().filter_map(|known| {
            let name = name(&known.policy);
            let number = *compiler.admitted.get(&name)?;
            Some((name, number))
        });
        self.policies.extend(held);
        let others = tenant.candidates.iter().filter(|known| !is_programmed(known));
        self.problems.extend(others.map(|known| pending(&known.policy)));
    }
}

/// A policy's namespace and name.
pub(super) fn name(policy: &Policy) -> (String, String) {
    (policy.namespace.clone(), policy.name.clone())
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
