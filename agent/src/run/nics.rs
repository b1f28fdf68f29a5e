//! The NICs that are to carry the program.

use std::collections::{BTreeMap, BTreeSet};

use tracing::info;
use xdp_plan::report::Problem;

use super::problems::chain;
use crate::{
    datapath::{Attached, Datapath, NicProgram},
    netlink::{HostLink, XdpMode, host_links},
    nic::{NicFacts, NicProblem, NicSelector, attach_problem, nic_facts, preflight, select},
    system,
};

/// Attaches where it is missing, and says where that cannot be. NICs that are attached and not selected are left
/// alone here: see [`release`].
pub(super) fn attach(datapath: &Datapath, selector: &NicSelector) -> Result<Vec<Problem>, Problem> {
    let facts = host_links()
        .and_then(|links| nic_facts(&links))
        .map_err(|error| {
            Problem::new(
                "NICs",
                "NetlinkFailed",
                chain(error),
                "the agent asks again by itself; see the kernel log if it stays",
            )
        })?;
    let selection = select(&facts, selector);
    let ours = ours(datapath)?;
    let ids: Vec<u32> = ours.values().map(|program| program.program_id).collect();
    let mut problems: Vec<Problem> = selection
        .problems
        .into_iter()
        .map(|problem| named("NICs", problem))
        .collect();
    let mut created = BTreeSet::new();
    for nic in &selection.nics {
        let object = format!("NIC {}", nic.link.name);
        match attach_one(datapath, nic, &ids) {
            Ok(()) => drop(created.insert(nic.link.ifindex)),
            Err(found) => problems.extend(found.into_iter().map(|problem| named(&object, problem))),
        }
    }
    problems.extend(not_native(datapath, &created)?);
    Ok(problems)
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
fn not_native(datapath: &Datapath, attached: &BTreeSet<u32>) -> Result<Vec<Problem>, Problem> {
    let links = host_links().unwrap_or_default();
    let ours = ours(datapath)?;
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
    Ok(links.iter().filter(lies).map(problem).collect())
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
