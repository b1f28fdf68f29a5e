//! Changes that the kernel refused in a reconcile.

use std::collections::BTreeMap;

use super::Situation;
use crate::{
    change::Change,
    facts::NotReady,
    hook::{AttachPoint, Hook},
    nics::REPLY_PATH_NEEDS,
    report::Problem,
};

/// The refused changes, which are not tried again in the same reconcile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// By hook.
    pub hooks: BTreeMap<AttachPoint, HookRefusal>,
    /// GRO of pods, by the index of the host's end: the reason and the message.
    pub gro: BTreeMap<u32, (NotReady, String)>,
}

/// A refused change of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookRefusal {
    /// The kind of the change.
    pub step: RefusedStep,
    /// The error with its causes.
    pub error: String,
    /// What the kernel says about it, empty if nothing is known: its extack, or lines of its log.
    pub kernel_text: String,
    /// The kernel's errno; 0 if it gave none.
    pub errno: i32,
}

/// The kind of a refused change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedStep {
    /// Attaching or replacing the program.
    Attach,
    /// Moving the program in front of those of other owners.
    MoveFirst,
    /// Detaching it.
    Detach,
}

impl HookRefusal {
    /// Explains the refusal of a program on an interface.
    pub(super) fn explain(&self, program: &str, interface: &str) -> String {
        let error = &self.error;
        match self.step {
            RefusedStep::Attach => format!("`{program}` cannot be attached to `{interface}`: {error}"),
            RefusedStep::MoveFirst => {
                format!("another program runs before `{program}` on `{interface}`: {error}")
            }
            RefusedStep::Detach => format!("`{program}` cannot be detached from `{interface}`: {error}"),
        }
    }

    /// Returns what to do about a refused program of the reply path.
    pub(super) fn remedy(&self, interface: &str) -> String {
        match self.step {
            RefusedStep::MoveFirst => format!(
                "the policies' Redirect rules pass to the stack (NoReplyPath); {}",
                let_it_attach_later(interface)
            ),
            RefusedStep::Attach | RefusedStep::Detach => REPLY_PATH_NEEDS.to_owned(),
        }
    }
}

/// The remedy where a program of another owner runs before the agent's.
pub(super) fn let_it_attach_later(interface: &str) -> String {
    format!(
        "find its owner with `bpftool net show dev {interface}` and let it attach after the agent's program"
    )
}

impl Refused {
    /// Returns why a program could not be attached, replaced, or moved in front of others.
    pub(super) fn attach(&self, hook: Hook, ifindex: u32) -> Option<&HookRefusal> {
        let refusal = self.hooks.get(&AttachPoint::new(hook, ifindex))?;
        (refusal.step != RefusedStep::Detach).then_some(refusal)
    }

    /// Returns whether any change is refused.
    pub fn is_empty(&self) -> bool {
        self.hooks.is_empty() && self.gro.is_empty()
    }

    /// Returns whether a change concerns a refused one.
    pub fn concerns(&self, change: &Change) -> bool {
        match change {
            Change::SetGro { host, .. } => self.gro.contains_key(host),
            other => other.point().is_some_and(|point| self.hooks.contains_key(&point)),
        }
    }

    /// Drops the refusals that a change concerns.
    pub fn forget(&mut self, change: &Change) {
        match change {
            Change::SetGro { host, .. } => drop(self.gro.remove(host)),
            other => drop(other.point().and_then(|point| self.hooks.remove(&point))),
        }
    }
}

/// Selects from `changes` those that were refused by the last reconcile. They are tried alone, before
/// anything is attached that is of use only with them; a NIC is tried with [`Change::Probe`].
pub fn retries(changes: Vec<Change>, refused: &Refused) -> Vec<Change> {
    let retry = |change: Change| match change {
        Change::Attach {
            point,
            interface,
            mode,
        } if point.hook == Hook::Nic => Change::Probe { interface, mode },
        other => other,
    };
    let again = changes.into_iter().filter(|change| refused.concerns(change));
    again.map(retry).collect()
}

/// Programs that could not be detached.
pub(super) fn not_detached(situation: &Situation<'_>) -> Vec<Problem> {
    let name = |ifindex: u32| {
        let mut nics = situation.nics.unwrap_or_default().iter();
        nics.find(|nic| nic.link.ifindex == ifindex)
            .map(|nic| nic.link.name.as_str())
    };
    let problem = |(point, refusal): (&AttachPoint, &HookRefusal)| {
        let message = format!("`{}` cannot be detached: {}", point.hook.program(), refusal.error);
        let remedy = "the agent tries again by itself; run `xdp-agent uninstall` to remove everything";
        match name(point.ifindex) {
            Some(name) if point.hook.is_of_nic() => Problem::of_nic(name, "DetachFailed", message, remedy),
            _ => Problem::new(
                format!("interface {}", point.ifindex),
                "DetachFailed",
                message,
                remedy,
            ),
        }
    };
    let hooks = situation.refused.hooks.iter();
    hooks
        .filter(|(_, refusal)| refusal.step == RefusedStep::Detach)
        .map(problem)
        .collect()
}
