//! What must be done to the kernel's tables, as data.

use xdp_core::tables::{Address, Block, SlotWord};

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
        label: RuleLabel,
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
    /// Fill a block that no slot points at.
    WriteBlock {
        /// For which slot.
        slot: u32,
        /// Block index.
        index: u32,
        /// Content.
        block: Box<Block>,
    },
    /// Point a slot at a block, or at nothing: the one atomic step.
    SetWord {
        /// Slot.
        slot: u32,
        /// Generation and block.
        word: SlotWord,
    },
    /// Lead an address to a slot.
    SetAddress {
        /// Destination address.
        address: Address,
        /// Slot.
        slot: u32,
    },
    /// Make an address unknown: its packets pass.
    ClearAddress {
        /// Destination address.
        address: Address,
    },
    /// Wait until no running program can still see what was replaced before.
    Fence,
}
