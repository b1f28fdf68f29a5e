//! What should be in the kernel: tables and attached programs.

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
    report::Problem,
};

/// What should be in the kernel, without the numbers (slots, blocks, rule ids) that [`crate::diff::diff`] assigns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Pods with rules.
    pub pods: Vec<DesiredPod>,
    /// Rules with counters: those in use, and as far as there is room those of policies without a target.
    pub rules: Arc<BTreeSet<Arc<RuleLabel>>>,
    /// Policies and pods that exceed a limit.
    pub problems: Vec<Problem>,
    /// Programs, and pods' interfaces.
    pub attachments: DesiredAttachments,
}

/// The programs that should be attached, and the interfaces of pods that should take redirected packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredAttachments {
    /// Programs by hook. What is attached elsewhere is detached.
    pub hooks: BTreeMap<AttachPoint, DesiredProgram>,
    /// Pods whose GRO should be on, by the index of the host's end of the pair.
    pub gro: BTreeSet<u32>,
    /// The pods' ends of all pairs that exist, by the index of the host's end: what is noted of others is stale.
    pub pods: BTreeMap<u32, Interface>,
}

/// What a hook should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DesiredProgram {
    /// This version of the program.
    Attached {
        /// The interface of the hook.
        interface: Interface,
        /// How an XDP program may run.
        mode: XdpAttach,
    },
    /// What it holds now: an interface that is down for a moment keeps its programs, and what the kernel refused is not
    /// tried again in this reconcile.
    Unchanged,
}

/// One pod's interface and its rules.
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
    /// Whether it can be delivered to behind the NIC's stack entry.
    pub peer: Readiness,
    /// Whether the programs of the reply path are attached.
    pub reply_path: Readiness,
    /// No rule redirects to it any more; tracked flows go on.
    pub draining: bool,
    /// Longest IP packet that both ends of the pair take.
    pub mtu: u32,
    /// Its rules.
    pub rules: Arc<Compiled>,
}
