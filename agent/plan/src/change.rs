//! What must be done to the kernel's tables, as data.

use std::sync::Arc;

use xdp_core::tables::{
    ActionRecord, Address, Class, IndexWord, PodBlock, Ports, SlotWord, SourcesV4, SourcesV6,
};

use crate::installed::{PodLabel, RuleLabel};

/// One step from [`crate::installed::Installed`] to what is desired. The list that `diff` returns is in an order in
/// which nothing refers to what is not there yet and nothing is removed while something refers to it.
///
/// When a change that names a slot fails, the later ones of that slot are left out; the others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Give a rule id to a rule. Its counters start at zero.
    SetRuleLabel {
        /// Rule id.
        rule: u32,
        /// The rule.
        label: Arc<RuleLabel>,
    },
    /// Take a rule id back.
    ClearRuleLabel {
        /// Rule id.
        rule: u32,
    },
    /// Give a slot to a pod, or renew what is said about it.
    SetPodLabel {
        /// Slot.
        slot: u32,
        /// The pod.
        label: PodLabel,
        /// The slot was free before: failures counted for an earlier pod are forgotten.
        fresh: bool,
    },
    /// Take a slot back.
    ClearPodLabel {
        /// Slot.
        slot: u32,
    },
    /// Enter the host's end of a pod's pair in the devmap.
    SetDevice {
        /// Slot.
        slot: u32,
        /// Interface index in the host's namespace.
        ifindex: u32,
    },
    /// Take a device out of the devmap.
    ClearDevice {
        /// Slot.
        slot: u32,
    },
    /// Fill a block that no word leads to. What it refers to was there before, or was written before.
    Write {
        /// Index in the array of its kind.
        index: u32,
        /// What to write, and so where.
        content: Content,
    },
    /// Point a slot at a block, or at nothing: the one atomic step.
    SetWord {
        /// Slot.
        slot: u32,
        /// Generation and block.
        word: SlotWord,
    },
    /// Replace a place of the index, in one atomic step.
    SetIndex {
        /// Which place.
        position: u32,
        /// What is there from now on.
        word: IndexWord,
    },
    /// Lead an address to a slot, through the hash.
    SetAddress {
        /// Destination address.
        address: Address,
        /// Slot.
        slot: u32,
    },
    /// Take an address out of the hash.
    ClearAddress {
        /// Destination address.
        address: Address,
    },
    /// Wait until no running program can still see what was replaced before.
    Fence,
}

/// A block of some kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An element of [`xdp_core::tables::maps::POD_BLOCKS`].
    Pod(PodBlock),
    /// An element of [`xdp_core::tables::maps::SOURCES_V4`].
    SourcesV4(Box<SourcesV4>),
    /// An element of [`xdp_core::tables::maps::SOURCES_V6`].
    SourcesV6(Box<SourcesV6>),
    /// An element of [`xdp_core::tables::maps::CLASSES`].
    Class(Class),
    /// An element of [`xdp_core::tables::maps::PORT_BLOCKS`].
    Ports(Box<Ports>),
    /// An element of [`xdp_core::tables::maps::ACTIONS`].
    Action(ActionRecord),
}
