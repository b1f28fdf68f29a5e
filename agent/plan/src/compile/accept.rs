//! Applies the limits: accepts pods and policies, and refuses those over a limit, deterministically.

mod search;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use search::Search;
use xdp_core::tables::{MAX_ADDRESSES, MAX_SLOTS};

use super::{
    Compiler, Key,
    compiled::Compiled,
    known::{Known, Labels},
    limits::{Excess, Limit},
};
use crate::{
    policy::Policy,
    report::Problem,
    targets::{Target, Targets},
};

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
    /// All compiled rules, including those of the search.
    pub(super) compiled: BTreeMap<Key, Result<Arc<Compiled>, Excess>>,
}

pub(super) fn accept<'a>(all: &'a Targets, compiler: &Compiler) -> Accepted<'a> {
    let mut accepted = Accepted::default();
    accepted.take_targets(&all.targets);
    let selecting = accepted.targets.iter().flat_map(|target| &target.policies);
    let used: BTreeSet<*const Policy> = selecting.map(Arc::as_ptr).collect();
    let (used, unused): (Vec<_>, Vec<_>) = all
        .policies
        .iter()
        .partition(|policy| used.contains(&Arc::as_ptr(policy)));
    let known = |policies: Vec<&Arc<Policy>>| -> Vec<&Arc<Known>> {
        policies
            .into_iter()
            .filter_map(|policy| compiler.known(policy))
            .collect()
    };
    let (used, unused) = (known(used), known(unused));
    accepted.take_policies(used, compiler);
    for known in unused {
        accepted.keep_counters(known);
    }
    accepted
}

impl<'a> Accepted<'a> {
    fn take_targets(&mut self, targets: &'a [Target]) {
        let mut addresses = BTreeSet::<IpAddr>::new();
        for target in targets {
            if self.targets.len() >= MAX_SLOTS as usize {
                self.problems
                    .push(pod_limit(target, "MAX_SLOTS", MAX_SLOTS, "target pods"));
            } else if addresses.len() + target.addresses.len() > MAX_ADDRESSES as usize {
                let counted = "addresses of target pods";
                self.problems
                    .push(pod_limit(target, "MAX_ADDRESSES", MAX_ADDRESSES, counted));
            } else {
                addresses.extend(&target.addresses);
                self.targets.push(target);
            }
        }
    }

    /// Accepts as many policies as fit, in order.
    fn take_policies(&mut self, used: Vec<&Arc<Known>>, compiler: &Compiler) {
        let mut kept = Vec::new();
        let mut rules = 0;
        for known in used {
            match Limit::Rules.check(rules + known.labels.len()) {
                Ok(()) => {
                    rules += known.labels.len();
                    kept.push(known);
                }
                Err(excess) => self.problems.push(excess.problem(&known.policy, None)),
            }
        }
        let mut search = Search::new(&self.targets, compiler);
        self.rules_of = search.narrow(&mut kept, &mut self.problems);
        self.compiled = search.compiled;
        self.counted = kept.iter().map(|known| Arc::clone(&known.labels)).collect();
    }

    /// Keeps the counters of a policy without pods: they exist before the first pod and after the last one.
    fn keep_counters(&mut self, known: &Known) {
        let counted: usize = self.counted.iter().map(|labels| labels.len()).sum();
        if counted + known.labels.len() <= Limit::Rules.value() {
            self.counted.push(Arc::clone(&known.labels));
        }
    }
}

fn pod_limit(target: &Target, limit: &str, value: u32, counted: &str) -> Problem {
    Problem::new(
        target.pod.to_string(),
        limit,
        format!(
            "the limit {limit} is {value} {counted} per node, and is reached; no rule applies to this pod"
        ),
        "select fewer pods, or spread them over more nodes",
    )
}
