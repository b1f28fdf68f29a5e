//! Compiles targets to the desired tables.
//!
//! A pod's rules become trees of intervals. The bounds of all networks cut the sources into intervals; in
//! each interval, the same rules apply. For each such set of rules, the bounds of all ports cut the ports,
//! and the first rule that matches decides. Equal intervals are merged, so that cost and size depend on the
//! meaning of the rules, not on their form.

mod accept;
mod build;
mod compiled;
mod flat;
mod known;
mod limits;
mod paint;
mod record;
mod sources;
mod sweep;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

pub use compiled::Compiled;
use known::{Known, Labels};
use limits::Excess;
pub use limits::Limit;
use xdp_core::tables::Address;

use crate::{
    desired::{Desired, DesiredAttachments, DesiredPod},
    facts::{Deliveries, NotReady, Readiness},
    installed::{RuleLabel, SlotIdentity},
    policy::Policy,
    targets::{Target, Targets},
};

/// Compiles targets, and caches the results: a list of policies that the last reconcile compiled costs only a
/// look-up. Results that a reconcile does not use are dropped.
#[derive(Debug, Default)]
pub struct Compiler {
    policies: BTreeMap<(String, String), Arc<Known>>,
    /// The last number of a policy's content.
    numbers: u64,
    compiled: BTreeMap<Key, Result<Arc<Compiled>, Excess>>,
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
}

impl Compiler {
    /// Compiles targets. `deliveries` are by the host's ifindex. A target without deliveries is
    /// [`crate::facts::NotReady::NotPrepared`].
    pub fn compile(&mut self, targets: &Targets, deliveries: &BTreeMap<u32, Deliveries>) -> Desired {
        self.index_known_rules(targets);
        let mut accepted = accept::accept(targets, self);
        self.compiled = std::mem::take(&mut accepted.compiled);
        let rules = self.rules(std::mem::take(&mut accepted.counted));
        let pods = accepted.targets.iter().zip(&accepted.rules_of);
        let pods =
            pods.filter_map(|(target, rules)| Some(pod(target, Arc::clone(rules.as_ref()?), deliveries)));
        Desired {
            pods: pods.collect(),
            rules,
            problems: accepted.problems,
            attachments: DesiredAttachments::default(),
            stations: None,
        }
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

/// Compiles targets once, like [`Compiler::compile`].
pub fn compile(targets: &Targets, deliveries: &BTreeMap<u32, Deliveries>) -> Desired {
    Compiler::default().compile(targets, deliveries)
}

fn pod(target: &Target, rules: Arc<Compiled>, deliveries: &BTreeMap<u32, Deliveries>) -> DesiredPod {
    let Target { pod, pair, .. } = target;
    let ready = || deliveries.get(&pair.host.ifindex).cloned();
    let Deliveries {
        redirect,
        peer,
        reply_path,
    } = match &target.doubt {
        Some(doubt) => Deliveries::in_doubt(doubt),
        None => ready().unwrap_or_else(not_prepared),
    };
    DesiredPod {
        identity: SlotIdentity {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            ifindex: pair.host.ifindex,
            mac: pair.pod.mac,
        },
        interface: pair.host.name.clone(),
        addresses: target.addresses.clone(),
        readiness: redirect,
        peer,
        reply_path,
        draining: false,
        not_permitted: target.lacks_permission(),
        mtu: pair.host.mtu.min(pair.pod.mtu),
        rules,
    }
}

fn not_prepared() -> Deliveries {
    let not_prepared = Readiness::NotReady {
        reason: NotReady::NotPrepared,
        message: "no rule of this pod redirects, so its interface is not prepared".into(),
    };
    Deliveries {
        redirect: not_prepared.clone(),
        peer: not_prepared.clone(),
        reply_path: not_prepared,
    }
}

/// Builds the desired tables of a draining pod, without rules.
pub(crate) fn without_rules(target: &Target, deliveries: &BTreeMap<u32, Deliveries>) -> DesiredPod {
    let rules = build::build(&[], &BTreeMap::new()).expect("nothing exceeds no limit");
    pod(target, Arc::new(rules), deliveries)
}

/// Converts an address to the form of the tables.
pub const fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => Address::v4(ip.octets()),
        IpAddr::V6(ip) => Address::v6(ip.octets()),
    }
}
