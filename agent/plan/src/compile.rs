//! Compiles targets to the desired tables.
//!
//! A pod's rules become trees of intervals. The bounds of all networks cut the sources into intervals; in
//! each interval, the same rules apply. For each such set of rules, the bounds of all ports cut the ports,
//! and the first rule that matches decides. Equal intervals are merged, so that cost and size depend on the
//! meaning of the rules, not on their form.

mod accept;
mod adopt;
mod build;
mod certainties;
mod compiled;
mod cost;
mod flat;
mod known;
mod layer;
mod limits;
mod paint;
mod pod;
mod record;
mod shares;
pub(crate) mod sources;
pub(crate) mod sweep;
mod tree;
mod usage;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use accept::{NamespaceRules, Results};
use certainties::Certainties;
pub use compiled::Compiled;
use known::{Known, Labels};
use limits::Excess;
pub use limits::Limit;
use pod::pod;
pub(crate) use pod::{identity, without_rules};
pub use shares::{MAX_WEIGHT, NamespaceWeight, Shares, WeightError};
use usage::Usage;
use work::{Served, Turn};
use xdp_core::tables::Address;

use crate::{
    desired::{Desired, DesiredAttachments, DesiredPod},
    facts::Deliveries,
    installed::{Installed, RuleLabel, SlotIdentity},
    policy::Policy,
    targets::{Target, Targets},
};

/// Compiles targets, and caches the results: a list of policies that the last reconcile compiled costs only a
/// look-up. Results that a reconcile does not use are dropped.
#[derive(Debug, Default)]
pub struct Compiler {
    shares: Shares,
    policies: BTreeMap<(String, String), Arc<Known>>,
    /// The last number of a policy's content, or of what is certainly allowed of a pod's packets.
    numbers: u64,
    certainty: Certainties,
    compiled: BTreeMap<Key, Result<Arc<Compiled>, Excess>>,
    /// Searches for the policies that fit, if some did not, or if it goes on.
    searches: BTreeMap<accept::Question, accept::Progress>,
    /// What is programmed, by namespace.
    programmed: BTreeMap<String, NamespaceRules>,
    /// The programmed rules.
    last: BTreeMap<SlotIdentity, Arc<Compiled>>,
    served: Served,
    /// Labels of the policies with counters, and the set of all their labels.
    counted: (Vec<Labels>, Arc<BTreeSet<Arc<RuleLabel>>>),
}

/// Everything that the compiled rules of a pod depend on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Numbers of the policies, in order.
    policies: Vec<u64>,
    /// The pod's numbers for the named ports in these policies.
    ports: Vec<Option<u16>>,
    /// The number of what is certainly allowed. Zero: everything, or no rule asks for it.
    certain: u64,
}

impl Compiler {
    /// Creates a compiler that shares out the node's tables like this.
    pub fn new(shares: Shares) -> Self {
        Self {
            shares,
            ..Self::default()
        }
    }

    /// Takes over what is programmed: it stays until the policies are compiled, and comes before what is new.
    pub fn adopt(&mut self, installed: &Installed) {
        self.last = adopt::installed_rules(installed);
        self.programmed = adopt::namespaces(installed, &self.last);
    }

    /// Compiles targets, as far as the work of one turn goes ([`Desired::pending`]). `deliveries` are by the
    /// host's ifindex. A target without deliveries is [`crate::facts::NotReady::NotPrepared`].
    pub fn compile(&mut self, targets: &Targets, deliveries: &BTreeMap<u32, Deliveries>) -> Desired {
        self.index_known_rules(targets);
        self.certainty.index(&targets.targets, &mut self.numbers);
        let namespaces: BTreeSet<&str> = targets
            .targets
            .iter()
            .map(|one| one.pod.namespace.as_str())
            .collect();
        let mut turn = Turn::new(namespaces.into_iter(), &self.served);
        let accepted = accept::accept(targets, self, &mut turn);
        let pods = accepted.targets.iter().zip(&accepted.rules_of);
        let pods: Vec<DesiredPod> = pods
            .filter_map(|(target, rules)| Some(pod(target, Arc::clone(rules.as_ref()?), deliveries)))
            .collect();
        let accept::Accepted {
            problems,
            results,
            programmed,
            pending,
            ..
        } = accepted;
        self.keep(results, &pods);
        self.served.note(&turn, pending.iter().cloned());
        self.programmed = programmed;
        let labels = self
            .programmed
            .values()
            .flat_map(|one| one.labels.iter().cloned());
        let labels = labels.collect();
        Desired {
            rules: self.rules(labels),
            pods,
            problems,
            attachments: DesiredAttachments::default(),
            stations: None,
            pending: !pending.is_empty(),
        }
    }

    /// Keeps what the next turn needs.
    fn keep(&mut self, results: Results, pods: &[DesiredPod]) {
        self.searches = results.searches;
        let before = std::mem::replace(&mut self.compiled, results.compiled);
        for (key, result) in before {
            self.compiled.entry(key).or_insert(result);
        }
        self.compiled.retain(|key, _| results.retained.contains(key));
        let last = pods
            .iter()
            .map(|pod| (pod.identity.clone(), Arc::clone(&pod.rules)));
        self.last = last.collect();
    }

    /// Whether some version of a policy is programmed.
    fn is_held(&self, policy: &Policy) -> bool {
        let namespace = self.programmed.get(&policy.namespace);
        namespace.is_some_and(|rules| rules.policies.contains_key(&policy.name))
    }

    /// Returns what the programmed rules of a namespace use.
    fn usage(&self, namespace: &str) -> Usage {
        self.programmed
            .get(namespace)
            .map_or_else(Usage::default, |rules| rules.usage)
    }

    /// Whether a target's rules are programmed.
    fn is_pod_held(&self, target: &Target) -> bool {
        self.last.contains_key(&identity(target))
    }

    /// Returns the set of labels. It is reused while the labels do not change, which is the common case.
    fn rules(&mut self, counted: Vec<Labels>) -> Arc<BTreeSet<Arc<RuleLabel>>> {
        let (before, rules) = &mut self.counted;
        let same = before.len() == counted.len()
            && before
                .iter()
                .zip(&counted)
                .all(|(before, now)| Arc::ptr_eq(before, now));
        if !same {
            *rules = Arc::new(counted.iter().flat_map(|labels| labels.iter().cloned()).collect());
            *before = counted;
        }
        Arc::clone(rules)
    }

    fn known(&self, policy: &Policy) -> Option<&Arc<Known>> {
        self.policies
            .get(&(policy.namespace.clone(), policy.name.clone()))
    }

    /// Assigns a number to the content of every policy. Unchanged contents keep their numbers.
    fn index_known_rules(&mut self, targets: &Targets) {
        let mut before = std::mem::take(&mut self.policies);
        for policy in &targets.policies {
            let name = (policy.namespace.clone(), policy.name.clone());
            let known = match before.remove(&name) {
                Some(known) if known.is(policy) => known,
                before => {
                    self.numbers += 1;
                    Arc::new(Known::new(self.numbers, policy, before.as_deref()))
                }
            };
            self.policies.insert(name, known);
        }
    }
}

/// Compiles targets completely, in as many turns as it takes.
pub fn compile(targets: &Targets, deliveries: &BTreeMap<u32, Deliveries>) -> Desired {
    let mut compiler = Compiler::default();
    loop {
        let desired = compiler.compile(targets, deliveries);
        if !desired.pending {
            return desired;
        }
    }
}

/// Converts an address to the form of the tables.
pub const fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => Address::v4(ip.octets()),
        IpAddr::V6(ip) => Address::v6(ip.octets()),
    }
}
