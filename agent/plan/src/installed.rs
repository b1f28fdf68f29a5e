//! What the kernel holds: read back by the agent's datapath module, never remembered.

mod attachments;
mod blocks;
mod pool;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

pub use attachments::{Attachments, Gro, HookState, Means, OtherProgram, PodInterface, Program};
pub use blocks::Blocks;
pub use pool::Pool;
use serde::{Deserialize, Serialize};
use xdp_core::tables::{Address, IndexWord, SlotWord, index_position};

use crate::facts::{NotReady, Readiness};

/// One reading of the pinned tables. Only what is in use is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Places of the index that are not empty.
    pub index: BTreeMap<u32, IndexWord>,
    /// Addresses in the hash, and the slots they lead to.
    pub addresses: BTreeMap<Address, u32>,
    /// Slots whose word is not empty.
    pub words: BTreeMap<u32, SlotWord>,
    /// The blocks that these words lead to.
    pub blocks: Blocks,
    /// Slots whose device exists, with its ifindex.
    pub devices: BTreeMap<u32, u32>,
    /// Slots that carry a label.
    pub pods: BTreeMap<u32, PodLabel>,
    /// Rule ids that carry a label.
    pub rules: RuleLabels,
    /// Attached programs, and pods' interfaces.
    pub attachments: Attachments,
}

impl Installed {
    /// Which addresses lead to which slots, by index or hash: what programs find.
    pub fn leading(&self) -> impl Iterator<Item = (Address, u32)> {
        let in_index = self.index.iter().filter_map(|(position, word)| {
            let v4 = word.address().filter(|v4| index_position(*v4) == *position)?;
            Some((Address::v4(v4.to_be_bytes()), word.slot(v4)?))
        });
        let in_hash = self.addresses.iter().map(|(address, slot)| (*address, *slot));
        in_index.chain(in_hash.filter(|(address, _)| self.is_looked_up(*address)))
    }

    /// Whether programs look for the address in the hash.
    fn is_looked_up(&self, address: Address) -> bool {
        let v4 = address.low as u32;
        let word = self.index.get(&index_position(v4)).copied().unwrap_or_default();
        !address.is_v4() || (word.slot(v4).is_none() && word.more())
    }
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
    /// Why the pod cannot be delivered to behind the NIC's stack entry, if it cannot.
    pub peer: Option<NotReady>,
    /// Whether the programs of its reply path are attached, and why not.
    pub reply_path: Readiness,
    /// Nothing redirects to it any more; flows that were taken go on.
    pub draining: bool,
}

/// A slot belongs to one pod on one device: a pod whose veth is made again gets a new slot, so that no packet meets
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

/// Labels of rules by id. Readings share what has not changed: most comparisons end at the pointers.
pub type RuleLabels = Arc<BTreeMap<u32, Arc<RuleLabel>>>;

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
