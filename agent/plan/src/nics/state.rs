//! The NICs for the node's status, as the kernel shows them.

use std::collections::BTreeSet;

use xdp_crds::{NicMode, NicReplyPath, NicState};

use super::{NicFacts, XdpMode, XdpState, feature_names, reason};
use crate::{
    hook::{AttachPoint, Hook},
    installed::Attachments,
    report::Problem,
};

/// Returns the states of the NICs that are selected or have the program.
pub fn states(
    nics: &[NicFacts],
    installed: &Attachments,
    selected: &BTreeSet<String>,
    problems: &[&Problem],
) -> Vec<NicState> {
    let has = |hook, nic: &NicFacts| installed.has(AttachPoint::new(hook, nic.link.ifindex));
    let shown = |nic: &&NicFacts| selected.contains(&nic.link.name) || has(Hook::Nic, nic);
    let state = |nic: &NicFacts| {
        let name = &nic.link.name;
        let own: Vec<Problem> = of_nic(name, problems).cloned().collect();
        let program = installed
            .hooks
            .get(&AttachPoint::new(Hook::Nic, nic.link.ifindex));
        NicState {
            name: name.clone(),
            driver: nic.driver.name.clone(),
            pci_address: nic.driver.bus.clone(),
            virtual_function: nic.virtual_function,
            mtu: nic.link.mtu,
            mode: mode(nic.link.xdp, program.and_then(|state| state.program_id)),
            program_id: nic.link.xdp.program_id,
            program_tag: nic.program_tag.map(|tag| format!("{tag:016x}")),
            features: nic.features.map(feature_names).unwrap_or_default(),
            reply_path: reply_path(has(Hook::NicOut, nic), &own),
            problems: own,
        }
    };
    nics.iter().filter(shown).map(state).collect()
}

/// Returns the mode of an interface's XDP program; `own` is the id of the agent's program there.
pub fn mode(xdp: XdpState, own: Option<u32>) -> NicMode {
    match (xdp.mode, xdp.program_id) {
        (XdpMode::None, _) => NicMode::None,
        (XdpMode::Native, id) if id == own => NicMode::Native,
        (XdpMode::Generic, id) if id == own => NicMode::Generic,
        _ => NicMode::Foreign,
    }
}

fn reply_path(attached: bool, problems: &[Problem]) -> NicReplyPath {
    if problems
        .iter()
        .any(|problem| problem.reason == reason::NO_REPLY_PATH)
    {
        NicReplyPath::Missing
    } else if attached {
        NicReplyPath::Attached
    } else {
        NicReplyPath::NotNeeded
    }
}

fn of_nic<'a>(name: &'a str, problems: &'a [&Problem]) -> impl Iterator<Item = &'a Problem> {
    problems
        .iter()
        .copied()
        .filter(move |problem| problem.nic() == Some(name))
}
