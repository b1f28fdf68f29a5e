//! The hooks that programs of the data path attach to.

use serde::{Deserialize, Serialize};
use xdp_core::tables::programs;

/// A hook of an interface, and with it the program that attaches there.
///
/// The order of the variants is the order in which programs are attached; they are detached in the reverse
/// order. A program comes after those that it relies on:
///
/// 1. the reader sets the mark of a packet that is delivered, so it is there before anything is delivered;
/// 2. `nic_out` knows the replies that `pod_out` forwards: NICs come before pods;
/// 3. `pod_in` notes what the stack delivers before `pod_out` sends replies past the stack;
/// 4. `nic_peer` delivers what the program on the NIC decides;
/// 5. the program on the NIC finds everything else in place, the tables included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Hook {
    /// tc ingress of a pod's interface, in the pod's network namespace: sets marks and counts what is
    /// delivered.
    PodReader,
    /// tc egress of a NIC: notes flows that pods open.
    NicOut,
    /// tc egress of the host's end of a pod's pair: notes that the stack delivers a flow.
    PodIn,
    /// tc ingress of the host's end of a pod's pair: forwards replies of tracked flows.
    PodOut,
    /// tc ingress of a NIC: delivers packets of policies with `delivery: Peer`.
    NicPeer,
    /// XDP of a NIC: decides.
    Nic,
}

impl Hook {
    /// All hooks, in the order in which programs are attached.
    pub const ALL: [Self; 6] = [
        Self::PodReader,
        Self::NicOut,
        Self::PodIn,
        Self::PodOut,
        Self::NicPeer,
        Self::Nic,
    ];
    /// The hooks of the reply path.
    pub const REPLY_PATH: [Self; 3] = [Self::NicOut, Self::PodIn, Self::PodOut];
    /// The hooks of the reply path on the host's end of a pod's pair.
    pub const POD: [Self; 2] = [Self::PodIn, Self::PodOut];

    /// Returns the name of the program in the embedded object.
    pub const fn program(self) -> &'static str {
        match self {
            Self::PodReader => programs::READER,
            Self::NicOut => programs::NIC_OUT,
            Self::PodIn => programs::POD_IN,
            Self::PodOut => programs::POD_OUT,
            Self::NicPeer => programs::PEER,
            Self::Nic => programs::NIC,
        }
    }

    /// Whether the hook belongs to the reply path.
    pub const fn is_reply_path(self) -> bool {
        matches!(self, Self::NicOut | Self::PodIn | Self::PodOut)
    }

    /// Whether the hook is one of a NIC.
    pub const fn is_of_nic(self) -> bool {
        matches!(self, Self::NicOut | Self::NicPeer | Self::Nic)
    }
}

/// A hook of one interface. Ordered by hook first: see [`Hook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachPoint {
    /// The hook.
    pub hook: Hook,
    /// Interface index in the host's network namespace; of [`Hook::PodReader`] the index of the host's end
    /// of the pair.
    pub ifindex: u32,
}

impl AttachPoint {
    /// A hook of an interface.
    pub const fn new(hook: Hook, ifindex: u32) -> Self {
        Self { hook, ifindex }
    }
}

/// An interface that a program attaches to, or whose GRO is switched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Interface index in its network namespace.
    pub ifindex: u32,
    /// Interface name in its network namespace.
    pub name: String,
    /// The id by which the host knows that namespace; `None`: the host's own.
    pub netns_id: Option<i32>,
}
