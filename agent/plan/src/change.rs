//! Changes to the kernel's tables, and to the programs attached to interfaces, as data.

mod order;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

pub use order::{ChangeResult, apply_in_order};
use xdp_core::tables::{
    ActionRecord, Address, Class, IndexWord, NicEntry, PodBlock, Ports, Receiver, ShareWord, SlotWord,
    SourcesV4, SourcesV6, Station,
};

use crate::{
    hook::{AttachPoint, Hook, Interface},
    installed::{PodLabel, RuleLabel},
};

/// One step from [`crate::installed::Installed`] to what is desired. The list that `diff` returns is in an
/// order in which nothing refers to what is absent, and nothing is removed while something refers to it.
///
/// [`apply_in_order`] states what a failure means for the changes after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Attach the program of a hook, where none is attached.
    Attach {
        /// The hook.
        point: AttachPoint,
        /// Its interface.
        interface: Interface,
        /// Allowed modes of an XDP program. Classifiers have one mode only.
        mode: XdpAttach,
    },
    /// Replace another version of the program of a hook, without a packet between the two.
    Replace {
        /// The hook.
        point: AttachPoint,
        /// Its interface.
        interface: Interface,
    },
    /// Move the program of a hook in front of programs of other owners.
    MoveFirst {
        /// The hook.
        point: AttachPoint,
        /// Its interface.
        interface: Interface,
    },
    /// Detach the program of a hook, and remove its pin. Where the interface is gone, only the pin is left.
    Detach {
        /// The hook.
        point: AttachPoint,
        /// Its interface, if it still exists.
        interface: Option<Interface>,
    },
    /// Attach a program that passes every packet to a NIC that refused the agent's program. It shows whether
    /// the NIC still refuses, before anything else is attached for the NIC. [`Change::Replace`] replaces it
    /// by the agent's program.
    Probe {
        /// The NIC.
        interface: Interface,
        /// Allowed modes of the program.
        mode: XdpAttach,
    },
    /// Switch generic receive offload of a pod's interface on, so that the host's end takes redirected
    /// packets.
    SetGro {
        /// Interface index of the host's end of the pair.
        host: u32,
        /// The pod's interface.
        interface: Interface,
    },
    /// Remove the note that GRO of a pod was switched on: the pod is gone.
    ForgetGro {
        /// Interface index of the host's end of the pair.
        host: u32,
    },
    /// Note the connections that a pod has opened before the programs saw its packets.
    NoteConnections {
        /// Interface index of the host's end of the pair.
        host: u32,
        /// The pod's interface.
        interface: Interface,
        /// `namespace/name` of the pod.
        pod: String,
        /// The pod's addresses.
        addresses: BTreeSet<IpAddr>,
        /// Whether the tables have all of these addresses: from then on, the programs note what the pod
        /// opens. Otherwise this is repeated once they have.
        complete: bool,
    },
    /// Copy to the flow tables what has changed in the parked ones.
    MigrateFlows,
    /// Remove flows whose address leads nowhere, and give the others the slot of their pod.
    PurgeFlows,
    /// Remove the parked flow tables: no program uses them any more.
    EndMigration,
    /// Assign a rule id to a rule. Its counters start at zero.
    SetRuleLabel {
        /// Rule id.
        rule: u32,
        /// The rule.
        label: Arc<RuleLabel>,
    },
    /// Clear a rule id.
    ClearRuleLabel {
        /// Rule id.
        rule: u32,
    },
    /// Set how many namespaces have Reject rules: they share the node's answers.
    SetAnswering {
        /// That number.
        namespaces: u32,
    },
    /// Give source limits to a namespace, or take them back.
    SetShare {
        /// Number of the namespace.
        namespace: u16,
        /// The new word.
        share: ShareWord,
    },
    /// Assign a slot to a pod, or update its label.
    SetPodLabel {
        /// Slot.
        slot: u32,
        /// The pod.
        label: PodLabel,
        /// Whether the slot was free before: its failure counters are reset.
        fresh: bool,
    },
    /// Clear the label of a slot.
    ClearPodLabel {
        /// Slot.
        slot: u32,
    },
    /// Add the host's end of a pod's pair to the devmap.
    SetDevice {
        /// Slot.
        slot: u32,
        /// Interface index in the host's namespace.
        ifindex: u32,
    },
    /// Remove a device from the devmap.
    ClearDevice {
        /// Slot.
        slot: u32,
    },
    /// Write a block that no word refers to. The blocks that it refers to are written before it.
    Write {
        /// Index in the array of its kind.
        index: u32,
        /// The content, which also selects the array.
        content: Content,
    },
    /// Point a slot at a block, or at none, atomically.
    SetWord {
        /// Slot.
        slot: u32,
        /// Generation and block.
        word: SlotWord,
    },
    /// Replace a position of the index, atomically.
    SetIndex {
        /// Position.
        position: u32,
        /// The new word.
        word: IndexWord,
    },
    /// Set the slot of an address in the hash.
    SetAddress {
        /// Destination address.
        address: Address,
        /// Slot.
        slot: u32,
    },
    /// Remove an address from the hash.
    ClearAddress {
        /// Destination address.
        address: Address,
    },
    /// Describe a NIC, or clear the element.
    SetNic {
        /// Position in [`xdp_core::tables::maps::NICS`].
        position: u32,
        /// The element.
        nic: NicEntry,
    },
    /// Let the rules apply to the frames for a station.
    SetStation {
        /// The station.
        station: Station,
        /// The interface that receives them.
        receiver: Receiver,
    },
    /// The stack does not take the frames for a station any more.
    ClearStation {
        /// The station.
        station: Station,
    },
    /// Wait until no running program can use replaced or removed entries any more.
    Fence,
}

/// Allowed modes of an XDP program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XdpAttach {
    /// In the driver, or not at all.
    #[default]
    Native,
    /// In the driver; in generic mode if the driver says that it has no XDP (kernels before 6.3 do not say so
    /// earlier).
    NativeOrGeneric,
    /// In generic mode.
    Generic,
}

impl Change {
    /// Returns whether the change concerns the tables of pods and rules.
    pub const fn is_of_tables(&self) -> bool {
        match self {
            Self::SetRuleLabel { .. }
            | Self::ClearRuleLabel { .. }
            | Self::SetAnswering { .. }
            | Self::SetShare { .. }
            | Self::SetPodLabel { .. }
            | Self::ClearPodLabel { .. }
            | Self::SetDevice { .. }
            | Self::ClearDevice { .. }
            | Self::Write { .. }
            | Self::SetWord { .. }
            | Self::SetIndex { .. }
            | Self::SetAddress { .. }
            | Self::ClearAddress { .. }
            | Self::SetNic { .. }
            | Self::SetStation { .. }
            | Self::ClearStation { .. }
            | Self::Fence => true,
            Self::Attach { .. }
            | Self::Replace { .. }
            | Self::MoveFirst { .. }
            | Self::Detach { .. }
            | Self::Probe { .. }
            | Self::SetGro { .. }
            | Self::ForgetGro { .. }
            | Self::NoteConnections { .. }
            | Self::MigrateFlows
            | Self::PurgeFlows
            | Self::EndMigration => false,
        }
    }

    /// Returns the hook that the change concerns, if it concerns one.
    pub const fn point(&self) -> Option<AttachPoint> {
        match self {
            Self::Attach { point, .. }
            | Self::Replace { point, .. }
            | Self::MoveFirst { point, .. }
            | Self::Detach { point, .. } => Some(*point),
            Self::Probe { interface, .. } => Some(AttachPoint::new(Hook::Nic, interface.ifindex)),
            _ => None,
        }
    }
}

/// The content of a block, by kind.
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
