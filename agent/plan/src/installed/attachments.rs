//! The attached programs, as read back from the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use crate::{
    connections::NotedPods,
    facts::NotReady,
    hook::{AttachPoint, Hook},
};

/// One reading of the hooks, and of the pods' interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachments {
    /// Hooks with a program or a pin of the agent, and hooks that were read for another reason.
    pub hooks: BTreeMap<AttachPoint, Arc<HookState>>,
    /// Pods' interfaces that were read, by the index of the host's end.
    pub pods: BTreeMap<u32, Arc<PodInterface>>,
    /// Pods whose GRO the agent has switched on, by the index of the host's end.
    pub gro_notes: BTreeSet<u32>,
    /// Pods whose preexisting connections are noted. That is not pinned: an agent that starts notes them
    /// again, because the one before it may have been killed too early.
    pub noted: NotedPods,
    /// Flow tables of an earlier capacity or layout are parked: their flows are not migrated yet.
    pub migrating: bool,
}

impl Attachments {
    /// Returns the state of the agent's program at a hook.
    pub fn program(&self, point: AttachPoint) -> Program {
        self.hooks
            .get(&point)
            .map_or(Program::Absent, |state| state.program)
    }

    /// Returns whether any version of the agent's program runs at a hook.
    pub fn has(&self, point: AttachPoint) -> bool {
        self.program(point).is_attached()
    }

    /// Lists the interfaces with any version of the agent's program at a hook.
    pub fn with(&self, hook: Hook) -> impl Iterator<Item = u32> {
        let of_hook = self.hooks.iter().filter(move |(point, _)| point.hook == hook);
        let attached = of_hook.filter(|(_, state)| state.program.is_attached());
        attached.map(|(point, _)| point.ifindex)
    }
}

/// The programs at a hook of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookState {
    /// The agent's program.
    pub program: Program,
    /// Kernel id of the agent's program, if it is attached.
    pub program_id: Option<u32>,
    /// Means of attachment. `None`: the program is not attached.
    pub means: Option<Means>,
    /// Other programs that run before it, in their order; all other programs if it is not attached.
    pub before: Vec<OtherProgram>,
    /// Other programs that run after it, in their order.
    pub after: Vec<OtherProgram>,
}

/// The agent's program at a hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// Neither attached nor pinned.
    #[default]
    Absent,
    /// Pinned, but not attached any more: the interface is gone, or something else detached it.
    Stale,
    /// Another version, or over other tables.
    Outdated,
    /// This version over these tables.
    Current,
}

impl Program {
    /// Whether any version runs.
    pub const fn is_attached(self) -> bool {
        matches!(self, Self::Outdated | Self::Current)
    }
}

/// Means of attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// An XDP link, in the driver.
    Native,
    /// An XDP link, in the stack.
    Generic,
    /// A tcx link.
    Tcx,
    /// A filter of a clsact qdisc.
    Clsact,
}

/// A program of another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherProgram {
    /// A program, by its kernel id.
    Program {
        /// Kernel id.
        id: u32,
    },
    /// A tc filter; the kernel runs filters by priority.
    Filter {
        /// Priority.
        priority: u16,
        /// Handle within the priority.
        handle: u32,
    },
}

impl fmt::Display for OtherProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { id } => write!(f, "the program with id {id}"),
            Self::Filter { priority, handle } => {
                write!(f, "the filter with priority {priority} and handle {handle:#x}")
            }
        }
    }
}

/// A pod's end of its pair, as read in the pod's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodInterface {
    /// Why the namespace cannot be entered. `None`: it can.
    pub unreachable: Option<String>,
    /// How replies may leave by another interface of the pod. `None`: they leave by this one.
    pub other_exit: Option<String>,
    /// Generic receive offload; `Err`: why it cannot be read.
    pub gro: Result<Gro, (NotReady, String)>,
}

/// Generic receive offload of a pod's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gro {
    /// Off.
    Off,
    /// On, but the host's end does not show `NDO_XMIT`: it was switched on while the interface was down.
    Ineffective,
    /// On, and the host's end takes redirected packets.
    On,
}
