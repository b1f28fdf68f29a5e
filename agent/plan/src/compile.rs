//! From targets to what should be in the kernel.

mod accept;
mod entries;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use xdp_core::tables::{Address, Entry, MAX_ENTRIES};

use crate::facts::{NotReady, Readiness};
use crate::installed::{RuleLabel, SlotIdentity};
use crate::policy::Policy;
use crate::report::Problem;
use crate::targets::{Target, Targets};

const _: () = assert!(crate::policy::MAX_ENTRIES == MAX_ENTRIES);

/// What should be in the kernel, without the numbers (slots, blocks, rule ids) that [`crate::diff::diff`] hands out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Pods with rules.
    pub pods: Vec<DesiredPod>,
    /// Rules with counters: those in use, and as far as there is room those of policies without a target.
    pub rules: BTreeSet<RuleLabel>,
    /// Policies and pods that exceed a limit.
    pub problems: Vec<Problem>,
}

/// One pod's interface and its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredPod {
    /// Which pod, on which device.
    pub identity: SlotIdentity,
    /// Name of the host's end of the pair.
    pub interface: String,
    /// Addresses that lead here.
    pub addresses: Vec<IpAddr>,
    /// Whether its interface takes redirects.
    pub readiness: Readiness,
    /// Longest IP packet that both ends of the pair take.
    pub mtu: u32,
    /// At most [`xdp_core::tables::MAX_ENTRIES`].
    pub entries: Vec<DesiredEntry>,
}

/// An entry whose rule has no id yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredEntry {
    /// The entry, with `rule` zero.
    pub entry: Entry,
    /// The rule.
    pub rule: Arc<RuleLabel>,
}

/// Compiles targets. `readiness` is by the host's ifindex; a target that is missing there counts as
/// [`crate::facts::NotReady::NotPrepared`].
pub fn compile(targets: &Targets, readiness: &BTreeMap<u32, Readiness>) -> Desired {
    let accepted = accept::accept(targets);
    let pods = accepted
        .targets
        .iter()
        .filter_map(|target| {
            let in_force = |policy: &&Arc<Policy>| {
                let key = (policy.namespace.as_str(), policy.name.as_str());
                accepted.policies.contains(&key)
            };
            let policies: Vec<_> = target.policies.iter().filter(in_force).collect();
            (!policies.is_empty()).then(|| pod(target, &policies, readiness))
        })
        .collect();
    Desired {
        pods,
        rules: accepted.rules,
        problems: accepted.problems,
    }
}

fn pod(target: &Target, policies: &[&Arc<Policy>], readiness: &BTreeMap<u32, Readiness>) -> DesiredPod {
    let Target { pod, pair, .. } = target;
    let readiness = readiness
        .get(&pair.host.ifindex)
        .cloned()
        .unwrap_or_else(not_prepared);
    let ready = readiness == Readiness::Ready;
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
        readiness,
        mtu: pair.host.mtu.min(pair.pod.mtu),
        entries: policies
            .iter()
            .flat_map(|policy| entries::entries(policy, ready))
            .collect(),
    }
}

fn not_prepared() -> Readiness {
    Readiness::NotReady {
        reason: NotReady::NotPrepared,
        message: "no rule of this pod redirects, so its interface is left as it is".into(),
    }
}

/// An address as the tables hold it.
pub const fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => Address::v4(ip.octets()),
        IpAddr::V6(ip) => Address::v6(ip.octets()),
    }
}
