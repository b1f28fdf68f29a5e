//! The installed state: read back from the kernel by the agent's datapath module.

mod attachments;
mod blocks;
mod namespaces;
mod pool;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

pub use attachments::{Attachments, Gro, HookState, Means, OtherProgram, PodInterface, Program};
pub use blocks::Blocks;
pub(crate) use namespaces::{Numbers, Shared};
pub use pool::Pool;
use serde::{Deserialize, Serialize};
use xdp_core::tables::{Address, IndexWord, ShareWord, SlotWord, index_position};

use crate::{
    facts::{NotReady, Readiness},
    nics::Stations,
};

/// One reading of the kernel. Only entries in use are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Positions of the index that are not empty.
    pub index: BTreeMap<u32, IndexWord>,
    /// Addresses in the hash, with their slots.
    pub addresses: BTreeMap<Address, u32>,
    /// Slots whose word is not empty.
    pub words: BTreeMap<u32, SlotWord>,
    /// The blocks that these words refer to.
    pub blocks: Blocks,
    /// Slots whose device exists, with its ifindex.
    pub devices: BTreeMap<u32, u32>,
    /// Labels by slot.
    pub pods: BTreeMap<u32, PodLabel>,
    /// Labels by rule id.
    pub rules: RuleLabels,
    /// Words of namespaces that are not empty, by the namespaces' numbers.
    pub shares: BTreeMap<u16, ShareWord>,
    /// The number of namespaces with Reject rules.
    pub answering: u32,
    /// The frames that the node's stack takes from NICs.
    pub stations: Stations,
    /// Attached programs, and pods' interfaces.
    pub attachments: Attachments,
}

impl Installed {
    /// Iterates over addresses and slots, as programs find them in index and hash.
    pub fn leading(&self) -> impl Iterator<Item = (Address, u32)> {
        let in_index = self.index.iter().filter_map(|(position, word)| {
            let v4 = word.address().filter(|v4| index_position(*v4) == *position)?;
            Some((Address::v4(v4.to_be_bytes()), word.slot(v4)?))
        });
        let in_hash = self.addresses.iter().map(|(address, slot)| (*address, *slot));
        in_index.chain(in_hash.filter(|(address, _)| self.is_looked_up(*address)))
    }

    /// Returns whether programs look the address up in the hash.
    fn is_looked_up(&self, address: Address) -> bool {
        let v4 = address.low as u32;
        let word = self.index.get(&index_position(v4)).copied().unwrap_or_default();
        !address.is_v4() || (word.slot(v4).is_none() && word.more())
    }
}

/// The pod of a slot, and its state for `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodLabel {
    /// Pod and device. They never change while the slot is in use.
    #[serde(flatten)]
    pub identity: SlotIdentity,
    /// Name of the host's end of the pair.
    pub interface: String,
    /// The pod's addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether the pod is ready for delivery `Redirect`.
    pub readiness: Readiness,
    /// Why the pod is not ready for delivery `Peer`. `None`: it is ready.
    pub peer: Option<NotReady>,
    /// Whether the programs of the reply path are attached.
    pub reply_path: Readiness,
    /// Whether the pod drains: no rule redirects to it any more, but its tracked flows continue.
    pub draining: bool,
}

/// The owner of a slot: one pod on one device. A pod whose veth pair is recreated gets a new slot, so that no
/// packet reaches the new device with the old MAC address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SlotIdentity {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// `metadata.uid` of the pod, empty if it has none.
    pub uid: String,
    /// Interface index of the host's end of the pair.
    pub ifindex: u32,
    /// Link-layer address of the pod's end.
    pub mac: [u8; 6],
}

/// Labels of rules by id. Readings share unchanged labels, so most comparisons compare pointers only.
pub type RuleLabels = Arc<BTreeMap<u32, Arc<RuleLabel>>>;

/// The rule of a rule id, and so of its counters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleLabel {
    /// Namespace of the policy.
    pub namespace: String,
    /// Name of the policy.
    pub policy: String,
    /// Name of the rule.
    pub rule: String,
}
