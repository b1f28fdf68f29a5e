//! The NICs for the node's status, as the kernel shows them after all is done.

use std::collections::{BTreeMap, BTreeSet};

use xdp_crds::{NicReplyPath, NicState};
use xdp_plan::{hook::Hook, report::Problem};

use crate::{
    datapath::{Datapath, NicProgram},
    node::{
        netlink::{HostLink, genl},
        nic::{NicFacts, reason},
    },
    report::status::mode,
};

/// `facts` say what an attach does not change, `links` everything else. Shown are `selected` NICs and `ours`.
pub(super) fn states(
    datapath: &Datapath,
    facts: &[NicFacts],
    links: &[HostLink],
    ours: &BTreeMap<u32, NicProgram>,
    (selected, problems): (&BTreeSet<String>, &[Problem]),
) -> Vec<NicState> {
    let facts: BTreeMap<u32, &NicFacts> = facts.iter().map(|nic| (nic.link.ifindex, nic)).collect();
    let ways = datapath.pinned().hooks(Hook::NicOut).unwrap_or_default();
    let shown = |link: &&HostLink| selected.contains(&link.name) || ours.contains_key(&link.ifindex);
    let state = |link: &HostLink| {
        let facts = facts.get(&link.ifindex).copied();
        let program = ours.get(&link.ifindex).map(|program| program.program_id);
        let tag = link
            .xdp
            .program_id
            .and_then(|id| datapath.pinned().program_tag(id));
        NicState {
            name: link.name.clone(),
            driver: facts.map(|nic| nic.driver.name.clone()).unwrap_or_default(),
            pci_address: facts.map(|nic| nic.driver.bus.clone()).unwrap_or_default(),
            mtu: link.mtu,
            mode: mode(link.xdp, program),
            program_id: link.xdp.program_id,
            program_tag: tag.map(|tag| format!("{tag:016x}")),
            features: facts
                .and_then(|nic| nic.features)
                .map(genl::feature_names)
                .unwrap_or_default(),
            reply_path: reply_path(ways.contains(&link.ifindex), &link.name, problems),
            problems: own(&link.name, problems).cloned().collect(),
        }
    };
    links.iter().filter(shown).map(state).collect()
}

fn reply_path(attached: bool, name: &str, problems: &[Problem]) -> NicReplyPath {
    if own(name, problems).any(|problem| problem.reason == reason::NO_REPLY_PATH) {
        NicReplyPath::Missing
    } else if attached {
        NicReplyPath::Attached
    } else {
        NicReplyPath::NotNeeded
    }
}

fn own<'a>(name: &'a str, problems: &'a [Problem]) -> impl Iterator<Item = &'a Problem> {
    problems.iter().filter(move |problem| problem.nic() == Some(name))
}
