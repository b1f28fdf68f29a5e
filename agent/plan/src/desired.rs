//! The desired state of the kernel: tables and attached programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    change::XdpAttach,
    compile::Compiled,
    facts::Readiness,
    hook::{AttachPoint, Interface},
    installed::{RuleLabel, SlotIdentity},
    nics::Stations,
    report::Problem,
};

/// The desired state of the kernel, without the numbers (slots, blocks, rule ids) that [`crate::diff::diff`]
/// assigns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Pods with rules.
    pub pods: Vec<DesiredPod>,
    /// Rules with counters: those of policies with a target on this node.
    pub rules: Arc<BTreeSet<Arc<RuleLabel>>>,
    /// Policies and pods that exceed a limit, and policies that wait for their turn.
    pub problems: Vec<Problem>,
    /// Programs, and pods' interfaces.
    pub attachments: DesiredAttachments,
    /// The frames that the node's stack takes from NICs; `None`: unknown, and left as they are.
    pub stations: Option<Stations>,
    /// Whether policies are left to compile in the next turn. Until then, their pods keep the programmed
    /// rules.
    pub pending: bool,
}

/// The programs that should be attached, and the interfaces of pods that should take redirected packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredAttachments {
    /// Programs by hook. What is attached elsewhere is detached.
    pub hooks: BTreeMap<AttachPoint, DesiredProgram>,
    /// Pods whose GRO should be on, by the index of the host's end of the pair.
    pub gro: BTreeSet<u32>,
    /// The pods' ends of all pairs that exist, by the index of the host's end: what is noted of others is
    /// stale.
    pub pods: BTreeMap<u32, Interface>,
}

/// The desired program of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DesiredProgram {
    /// This version of the program.
    Attached {
        /// The interface of the hook.
        interface: Interface,
        /// Allowed modes of an XDP program.
        mode: XdpAttach,
    },
    /// The installed program stays. This is for an interface that is down for a moment, and for a change that
    /// the kernel refused in this reconcile.
    Unchanged,
}

/// One pod's interface and its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredPod {
    /// Pod and device.
    pub identity: SlotIdentity,
    /// Name of the host's end of the pair.
    pub interface: String,
    /// The pod's addresses.
    pub addresses: Vec<IpAddr>,
    /// Readiness for delivery `Redirect`.
    pub readiness: Readiness,
    /// Readiness for delivery `Peer`.
    pub peer: Readiness,
    /// Whether the programs of the reply path are attached.
    pub reply_path: Readiness,
    /// Whether the pod drains: no rule redirects to it any more, but its tracked flows continue.
    pub draining: bool,
    /// Whether rules redirect to the pod, and may not.
    pub not_permitted: bool,
    /// The smaller MTU of both ends of the pair.
    pub mtu: u32,
    /// The compiled rules.
    pub rules: Arc<Compiled>,
}
