//! From targets to what should be in the kernel.

mod entries;

pub(crate) use entries::needed as entries_needed;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use xdp_core::tables::{Address, Entry};

use crate::facts::Readiness;
use crate::installed::{RuleLabel, SlotIdentity};
use crate::report::Problem;
use crate::targets::Targets;

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
    let _ = readiness;
    let _ = targets;
    Desired::default()
}

/// An address as the tables hold it.
pub const fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => Address::v4(ip.octets()),
        IpAddr::V6(ip) => Address::v6(ip.octets()),
    }
}
