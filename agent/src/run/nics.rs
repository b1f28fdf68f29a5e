//! The NICs that are to carry the program.

mod states;

use std::collections::{BTreeMap, BTreeSet};

use tracing::info;
use xdp_crds::NicState;
use xdp_plan::report::Problem;

use self::states::states;
use super::problems::chain;
use crate::{
    datapath::{Attached, Datapath, NicProgram},
    netlink::{HostLink, XdpMode, host_links},
    nic::{NicFacts, NicProblem, NicSelector, attach_problem, nic_facts, preflight, select},
    system,
};

/// The NICs after a round.
#[derive(Debug, Default)]
pub(super) struct Nics {
    pub(super) problems: Vec<Problem>,
    /// Those that are selected or carry the program, as the kernel shows them.
    pub(super) states: Vec<NicState>,
    /// Names of the selected ones; `None`: they could not be read.
    pub(super) selected: Option<BTreeSet<String>>,
}

/// Attaches where it is missing, and says where that cannot be. NICs that are attached and not selected are left
/// alone here: see [`release`].
pub(super) fn attach(datapath: &Datapath, selector: &NicSelector) -> Nics {
    try_attach(datapath, selector).unwrap_or_else(|problem| Nics {
        problems: vec![problem],
        ..Nics::default()
    })
}

fn try_attach(datapath: &Datapath, selector: &NicSelector) -> Result<Nics, Problem> {
    let facts = host_links()
        .and_then(|links| nic_facts(&links))
        .map_err(|error| unreadable(chain(error)))?;
    let selection = select(&facts, selector);
    let before = ours(datapath)?;
    let ids: Vec<u32> = before.values().map(|program| program.program_id).collect();
    let mut problems: Vec<Problem> = selection
        .problems
        .into_iter()
        .map(|problem| named("NICs", problem))
        .collect();
    let mut attached = BTreeSet::new();
    for nic in &selection.nics {
        let object = format!("NIC {}", nic.link.name);
        match attach_one(datapath, nic, &ids) {
            Ok(()) => drop(attached.insert(nic.link.ifindex)),
            Err(found) => problems.extend(found.into_iter().map(|problem| named(&object, problem))),
        }
    }
    let links = host_links().map_err(|error| unreadable(chain(error)))?;
    let ours = ours(datapath)?;
    problems.extend(not_native(&links, &ours, &attached));
    let selected = selection.nics.iter().map(|nic| nic.link.name.clone()).collect();
    Ok(Nics {
        states: states(datapath, &facts, &links, &ours, (&selected, &problems)),
        selected: Some(selected),
        problems,
    })
}

fn unreadable(message: String) -> Problem {
    let remedy = "the agent asks again by itself; see the kernel log if it stays";
    Problem::new("NICs", "NetlinkFailed", message, remedy)
}

/// At start: takes the program from NICs that the administrator no longer selects, and forgets those that are gone.
pub(super) fn release(datapath: &Datapath, selector: &NicSelector) -> Result<(), Problem> {
    let Ok(facts) = host_links().and_then(|links| nic_facts(&links)) else {
        return Ok(());
    };
    let selected: BTreeSet<u32> = select(&facts, selector)
        .nics
        .iter()
        .map(|nic| nic.link.ifindex)
        .collect();
    for ifindex in ours(datapath)?
        .into_keys()
        .filter(|ifindex| !selected.contains(ifindex))
    {
        match datapath.detach_nic(ifindex) {
            Ok(_) => info!(ifindex, "program taken from a NIC that is not selected any more"),
            Err(error) => {
                let remedy = "run `xdp-agent uninstall` to remove everything";
                return Err(Problem::new(
                    format!("NIC {ifindex}"),
                    "DetachFailed",
                    chain(error),
                    remedy,
                ));
            }
        }
    }
    Ok(())
}

fn attach_one(datapath: &Datapath, nic: &NicFacts, ours: &[u32]) -> Result<(), Vec<NicProblem>> {
    let page_size = system::page_size();
    let problems = preflight(nic, ours, page_size);
    if !problems.is_empty() {
        return Err(problems);
    }
    let name = &nic.link.name;
    match datapath.attach_nic(nic.link.ifindex) {
        Ok(Attached::Adopted) => {}
        Ok(Attached::Created) => info!(nic = %name, driver = %nic.driver.name, "program attached natively"),
        Ok(Attached::Updated) => info!(nic = %name, "program exchanged for this version's"),
        Err(error) => return Err(vec![attach_problem(nic, error.errno(), page_size)]),
    }
    Ok(())
}

/// The kernel's own word on what was attached, over another way than the one that attached it.
fn not_native(
    links: &[HostLink],
    ours: &BTreeMap<u32, NicProgram>,
    attached: &BTreeSet<u32>,
) -> Vec<Problem> {
    let lies = |link: &&HostLink| {
        let ours = ours.get(&link.ifindex).map(|program| program.program_id);
        attached.contains(&link.ifindex) && (link.xdp.mode != XdpMode::Native || link.xdp.program_id != ours)
    };
    let problem = |link: &HostLink| {
        let message = format!(
            "the kernel shows {:?} instead of the agent's program in native mode",
            link.xdp
        );
        let remedy = "another program took the interface; remove it with `ip link set DEV xdp off`";
        Problem::new(format!("NIC {}", link.name), "NotNative", message, remedy)
    };
    links.iter().filter(lies).map(problem).collect()
}

fn ours(datapath: &Datapath) -> Result<BTreeMap<u32, NicProgram>, Problem> {
    datapath
        .pinned()
        .nics()
        .map_err(|error| Problem::new("NICs", "PinsUnreadable", chain(error), "check the pin directory"))
}

fn named(object: &str, problem: NicProblem) -> Problem {
    Problem::new(object, problem.reason, problem.message, problem.remedy)
}
