//! The NICs that are to carry the program.

mod beside;
mod peers;
mod states;
mod ways;

use std::collections::{BTreeMap, BTreeSet};

use tracing::info;
use xdp_client::error_chain;
use xdp_crds::NicState;
use xdp_plan::{hook::Hook, report::Problem};

use self::states::states;
pub(super) use self::{
    peers::{attach_peers, release_peers},
    ways::{ReplyPath, attach_ways, release_ways},
};
use crate::{
    datapath::{Attached, Datapath, NicProgram},
    node::{
        netlink::{HostLink, XdpMode, host_links},
        nic::{NicFacts, NicSelector, attach_problem, generic_mode, nic_facts, preflight, reason, select},
        system,
    },
};

/// The NICs after a round.
#[derive(Debug, Default)]
pub(super) struct Nics {
    /// May succeed later.
    pub(super) failures: Vec<Problem>,
    /// Hold as long as the administrator wants it so.
    pub(super) notes: Vec<Problem>,
    /// Those that are selected or carry the program, as the kernel shows them.
    pub(super) states: Vec<NicState>,
    /// Where the program of the reply path is refused.
    pub(super) ways: Vec<Problem>,
    /// Names of the selected ones; `None`: they could not be read.
    pub(super) selected: Option<BTreeSet<String>>,
}

impl Nics {
    /// None is known.
    pub(super) fn failed(problem: Problem) -> Self {
        Self {
            failures: vec![problem],
            ..Self::default()
        }
    }
}

/// Which programs NICs are to have beside ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NicNeeds {
    /// Whether any pod's rules use delivery `Peer`, or may.
    pub(super) peer: bool,
    /// Whether any pod relies on the reply path, or may.
    pub(super) reply_path: ReplyPath,
}

/// Attaches where it is missing, and says where that cannot be. NICs that are attached and not selected are left
/// alone here: see [`release`]. What is needed beside our program, a NIC gets first.
pub(super) fn attach(datapath: &mut Datapath, selector: &NicSelector, needs: NicNeeds) -> Nics {
    try_attach(datapath, selector, needs).unwrap_or_else(Nics::failed)
}

fn try_attach(
    datapath: &mut Datapath,
    selector: &NicSelector,
    NicNeeds { peer, reply_path }: NicNeeds,
) -> Result<Nics, Problem> {
    let facts = host_links()
        .and_then(|links| nic_facts(&links))
        .map_err(|error| unreadable(error_chain(&error)))?;
    let selection = select(&facts, selector);
    let before = ours(datapath)?;
    let ids: Vec<u32> = before.values().map(|program| program.program_id).collect();
    let mut failures = selection.problems;
    let (mut attached, mut ways) = (BTreeSet::new(), Vec::new());
    for nic in &selection.nics {
        if peer && !before.contains_key(&nic.link.ifindex) {
            failures.extend(peers::attach_one(datapath, nic.link.ifindex, &nic.link.name));
        }
        if reply_path != ReplyPath::NotNeeded {
            let refused = ways::attach_one(datapath, nic.link.ifindex, &nic.link.name);
            let waits = refused.is_some() && reply_path == ReplyPath::Needed;
            ways.extend(refused);
            if waits && !before.contains_key(&nic.link.ifindex) {
                // Pods still rely on it: the next round tells them not to.
                continue;
            }
        }
        match attach_one(datapath, nic, &ids, selector.allow_generic) {
            Ok(()) => drop(attached.insert(nic.link.ifindex)),
            Err(found) => failures.extend(found),
        }
    }
    failures.extend(ways.iter().cloned());
    let links = host_links().map_err(|error| unreadable(error_chain(&error)))?;
    let ours = ours(datapath)?;
    failures.extend(not_native(&links, &ours, &attached, selector.allow_generic));
    let notes = generic(&links, &ours);
    let selected = selection.nics.iter().map(|nic| nic.link.name.clone()).collect();
    let troubles: Vec<Problem> = failures.iter().chain(&notes).cloned().collect();
    Ok(Nics {
        states: states(datapath, &facts, &links, &ours, (&selected, &troubles)),
        ways,
        selected: Some(selected),
        failures,
        notes,
    })
}

fn unreadable(message: String) -> Problem {
    let remedy = "the agent asks again by itself; see the kernel log if it stays";
    Problem::new("NICs", "NetlinkFailed", message, remedy)
}

/// At start: takes the program from NICs that the administrator no longer selects, or no longer allows to run it in
/// generic mode, and forgets those that are gone.
pub(super) fn release(datapath: &Datapath, selector: &NicSelector) -> Result<(), Problem> {
    let Ok(facts) = host_links().and_then(|links| nic_facts(&links)) else {
        return Ok(());
    };
    let selected: BTreeSet<u32> = select(&facts, selector)
        .nics
        .iter()
        .filter(|nic| selector.allow_generic || nic.link.xdp.mode != XdpMode::Generic)
        .map(|nic| nic.link.ifindex)
        .collect();
    for ifindex in ours(datapath)?
        .into_keys()
        .filter(|ifindex| !selected.contains(ifindex))
    {
        match datapath.detach_hook(Hook::Nic, ifindex) {
            Ok(_) => info!(ifindex, "program taken from a NIC that is not selected any more"),
            Err(error) => {
                let remedy = "run `xdp-agent uninstall` to remove everything";
                return Err(Problem::new(
                    format!("NIC {ifindex}"),
                    "DetachFailed",
                    error_chain(&error),
                    remedy,
                ));
            }
        }
    }
    Ok(())
}

fn attach_one(
    datapath: &Datapath,
    nic: &NicFacts,
    ours: &[u32],
    allow_generic: bool,
) -> Result<(), Vec<Problem>> {
    let page_size = system::page_size();
    let problems = preflight(nic, ours, page_size);
    let only_generic = allow_generic
        && !problems.is_empty()
        && problems
            .iter()
            .all(|problem| problem.reason == reason::NO_NATIVE_XDP);
    if !problems.is_empty() && !only_generic {
        return Err(problems);
    }
    let (name, ifindex) = (&nic.link.name, nic.link.ifindex);
    let attached = if only_generic {
        datapath.attach_generic(ifindex)
    } else {
        match datapath.attach_nic(ifindex) {
            // Kernels before 6.3 do not say so before.
            Err(error) if allow_generic && error.errno() == libc::EOPNOTSUPP => {
                datapath.attach_generic(ifindex)
            }
            attached => attached,
        }
    };
    match attached {
        Ok(Attached::Adopted) => {}
        Ok(Attached::Created) => info!(nic = %name, driver = %nic.driver.name, "program attached"),
        Ok(Attached::Updated) => info!(nic = %name, "program exchanged for this version's"),
        Err(error) => return Err(vec![attach_problem(nic, error.errno(), page_size)]),
    }
    Ok(())
}

/// What a program in generic mode means.
fn generic(links: &[HostLink], ours: &BTreeMap<u32, NicProgram>) -> Vec<Problem> {
    let generic = links
        .iter()
        .filter(|link| ours.contains_key(&link.ifindex) && link.xdp.mode == XdpMode::Generic);
    generic.map(|link| generic_mode(&link.name)).collect()
}

/// The kernel's own word on what was attached, over another way than the one that attached it.
fn not_native(
    links: &[HostLink],
    ours: &BTreeMap<u32, NicProgram>,
    attached: &BTreeSet<u32>,
    allow_generic: bool,
) -> Vec<Problem> {
    let lies = |link: &&HostLink| {
        let ours = ours.get(&link.ifindex).map(|program| program.program_id);
        let wanted = match link.xdp.mode {
            XdpMode::Native => true,
            XdpMode::Generic => allow_generic,
            XdpMode::None | XdpMode::Offload | XdpMode::Multi => false,
        };
        attached.contains(&link.ifindex) && (!wanted || link.xdp.program_id != ours)
    };
    let problem = |link: &HostLink| {
        let message = format!(
            "the kernel shows {:?} instead of the agent's program in native mode",
            link.xdp
        );
        let remedy = "another program took the interface; remove it with `ip link set DEV xdp off`";
        Problem::of_nic(&link.name, "NotNative", message, remedy)
    };
    links.iter().filter(lies).map(problem).collect()
}

fn ours(datapath: &Datapath) -> Result<BTreeMap<u32, NicProgram>, Problem> {
    datapath.pinned().nics().map_err(|error| {
        Problem::new(
            "NICs",
            "PinsUnreadable",
            error_chain(&error),
            "check the pin directory",
        )
    })
}
