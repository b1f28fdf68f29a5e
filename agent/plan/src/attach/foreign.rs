//! Programs of other owners in the hooks of the reply path.

use super::{Situation, delivered, refused::let_it_attach_later, watched};
use crate::{
    hook::{AttachPoint, Hook},
    installed::OtherProgram,
    report::Problem,
};

/// Reason of a problem: another program runs before the agent's.
pub const FOREIGN_PROGRAM_FIRST: &str = "ForeignProgramFirst";

/// Lists the hooks of the reply path where another program runs before the agent's, which could not be moved
/// in front.
pub(super) fn first_in_reply_path(situation: &Situation<'_>) -> Vec<Problem> {
    let hooks = situation.installed.hooks.iter();
    let second = hooks.filter(|(point, state)| {
        point.hook.is_reply_path() && state.program.is_attached() && !state.before.is_empty()
    });
    second
        .filter_map(|(point, state)| problem(situation, *point, &state.before))
        .collect()
}

/// `None`: nothing is delivered through the interface.
fn problem(situation: &Situation<'_>, point: AttachPoint, before: &[OtherProgram]) -> Option<Problem> {
    let (object, interface) = if point.hook == Hook::NicOut {
        let mut nics = situation.nics?.iter();
        let name = &nics.find(|nic| nic.link.ifindex == point.ifindex)?.link.name;
        (format!("NIC {name}"), name)
    } else {
        let mut targets = delivered(situation.targets, situation.draining).chain(watched(situation.targets));
        let target = targets.find(|target| target.pair.host.ifindex == point.ifindex)?;
        (target.pod.to_string(), &target.pair.host.name)
    };
    let others: Vec<String> = before.iter().map(ToString::to_string).collect();
    let message = format!(
        "on `{interface}`, {} of another owner runs before `{}`: packets that it consumes or redirects are not seen",
        others.join(", "),
        point.hook.program()
    );
    let remedy = let_it_attach_later(interface);
    Some(Problem::new(object, FOREIGN_PROGRAM_FIRST, message, remedy))
}
