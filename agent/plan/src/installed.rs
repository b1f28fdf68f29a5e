//! What the kernel holds: read back by the agent's datapath module, never remembered.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use xdp_core::tables::{Address, Block, SlotWord};

use crate::facts::Readiness;

/// One reading of the pinned tables. Only what is in use is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Addresses and the slots they lead to.
    pub addresses: BTreeMap<Address, u32>,
    /// Slots whose word is not empty.
    pub words: BTreeMap<u32, SlotWord>,
    /// The blocks that a word points at.
    pub blocks: BTreeMap<u32, Block>,
    /// Slots whose device exists, with its ifindex.
    pub devices: BTreeMap<u32, u32>,
    /// Slots that carry a label.
    pub pods: BTreeMap<u32, PodLabel>,
    /// Rule ids that carry a label.
    pub rules: BTreeMap<u32, RuleLabel>,
}

/// Whose slot it is, and what `status` says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodLabel {
    /// Which pod, on which device: a slot never changes these while it is in use.
    #[serde(flatten)]
    pub identity: SlotIdentity,
    /// Name of the host's end of the pair.
    pub interface: String,
    /// The addresses that lead here.
    pub addresses: Vec<IpAddr>,
    /// Whether the pod takes redirects, and why not.
    pub readiness: Readiness,
}

/// A slot belongs to one pod on one device: a pod whose veth is made anew gets a new slot, so that no packet meets
/// the new device with the old link-layer address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SlotIdentity {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// `metadata.uid` of the pod, empty if it has none.
    pub uid: String,
    /// The host's end of the pair.
    pub ifindex: u32,
    /// Link-layer address of the pod's end.
    pub mac: [u8; 6],
}

/// Whose counters they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleLabel {
    /// Namespace of the policy.
    pub namespace: String,
    /// Name of the policy.
    pub policy: String,
    /// Name of the rule.
    pub rule: String,
}
