//! The tables: brought in line with what is wanted, and read back.

use std::{collections::BTreeSet, sync::Arc};

use tracing::debug;
use xdp_plan::{
    change::Change,
    compile::{Compiler, Desired},
    diff::Differ,
    drain::go_on,
    facts::NodeFacts,
    installed::Installed,
    node_state::TABLES,
    report::Problem,
    targets::{Targets, targets},
};

use super::{
    flows::{Flows, carry},
    interfaces::Interfaces,
    nics::{self, NicNeeds, WayBack},
    pods::{self, Obstacles},
    problems::chain,
    unready::{loose, unready},
};
use crate::{
    datapath::{Datapath, OpenError, Outcome},
    netns::Namespaces,
    source::Objects,
};

/// Numbers that a round frees can be handed out by the next: renaming all rules of a full node takes five passes.
const PASSES: usize = 16;

/// The tables after a round.
pub(super) struct Tables {
    /// What was wanted and what is there, or why that is not known.
    pub(super) read_back: Result<ReadBack, Problem>,
    /// May succeed later.
    pub(super) failures: Vec<Problem>,
    /// Need a person.
    pub(super) problems: Vec<Problem>,
    /// How many changes were made.
    pub(super) changes: usize,
    /// What NICs need for it.
    pub(super) of_nics: NicNeeds,
}

/// What a round works with.
pub(super) struct Tools<'a> {
    pub(super) datapath: &'a mut Datapath,
    pub(super) namespaces: &'a mut Namespaces,
    pub(super) compiler: &'a mut Compiler,
    pub(super) differ: &'a mut Differ,
    pub(super) flows: &'a mut Flows,
    /// NICs that were found to refuse the program of the way back before they could carry ours.
    pub(super) ways: &'a [Problem],
    pub(super) interfaces: &'a mut Interfaces,
}

/// What was wanted and what is there.
pub(super) struct ReadBack {
    pub(super) targets: Targets,
    pub(super) desired: Desired,
    pub(super) installed: Arc<Installed>,
}

/// What became of a list of changes.
struct Installation {
    /// Read after the last change.
    installed: Result<Arc<Installed>, Problem>,
    failures: Vec<Problem>,
    changes: usize,
}

/// Puts policies in force for pods.
pub(super) fn program(tools: Tools<'_>, objects: &Objects) -> Tables {
    match tools.interfaces.facts() {
        Ok(facts) => program_for(tools, objects, &facts),
        Err(error) => {
            let problem = Problem::new(
                "interfaces",
                "NetlinkFailed",
                chain(error),
                "the agent asks again by itself; what is in force stays so",
            );
            Tables {
                read_back: Err(problem.clone()),
                failures: vec![problem],
                problems: Vec::new(),
                changes: 0,
                of_nics: NicNeeds {
                    peer: true,
                    way_back: WayBack::Needed,
                },
            }
        }
    }
}

fn program_for(tools: Tools<'_>, objects: &Objects, facts: &NodeFacts) -> Tables {
    let Tools {
        datapath,
        namespaces,
        compiler,
        differ,
        flows,
        ways,
        interfaces,
    } = tools;
    let looked = interfaces.ready.is_empty();
    let targets = targets(&objects.policies, &objects.pods, facts);
    let before = read(datapath.installed());
    let draining = before.as_ref().map_or_else(
        |_| Vec::new(),
        |installed| flows.draining(datapath, installed, (&targets, facts)),
    );
    let peer = targets.targets.iter().any(|target| target.wants_peer);
    let mut failures = peers_of(datapath, peer, interfaces);
    let redirects = targets.targets.iter().any(|target| target.wants_redirect);
    let needs_ways = redirects || peer || !draining.is_empty();
    let ways = ways_of(datapath, needs_ways, (interfaces, ways));
    let carried = carry(datapath);
    let going_on = draining.iter().map(|draining| &draining.target);
    let obstacles = Obstacles {
        peers: &failures,
        ways: &ways,
    };
    let deliveries = pods::prepare(
        (datapath, namespaces),
        targets.targets.iter().chain(going_on),
        obstacles,
        &mut interfaces.ready,
    );
    let mut desired = compiler.compile(&targets, &deliveries);
    go_on(&mut desired, &draining, &deliveries);
    let own = targets.problems.iter().chain(&desired.problems);
    let problems = own
        .cloned()
        .chain(unready(&desired, false))
        .chain(loose(needs_ways));
    let problems = problems.collect();
    failures.extend(unready(&desired, true).into_iter().chain(carried));
    let installation = install((datapath, differ), &desired, before);
    // What could not be changed may still refer to the programs for it.
    let failed = !installation.failures.is_empty();
    let (peer, needs_ways) = (peer || failed, needs_ways || failed);
    failures.extend(installation.failures);
    if !failed {
        pods::release_hooks(datapath, &deliveries.keys().copied().collect());
    }
    if let Ok(installed) = &installation.installed {
        failures.extend(flows.settle(datapath, installed));
    }
    if looked {
        let live: BTreeSet<u32> = facts.pairs.iter().map(|pair| pair.host.ifindex).collect();
        pods::prune(datapath, &live);
    }
    Tables {
        read_back: installation.installed.map(|installed| ReadBack {
            targets,
            desired,
            installed,
        }),
        failures,
        problems,
        changes: installation.changes,
        of_nics: NicNeeds {
            peer,
            way_back: match ways.is_empty() {
                _ if !needs_ways => WayBack::NotNeeded,
                true => WayBack::Needed,
                false => WayBack::Refused,
            },
        },
    }
}

/// What keeps delivery `Peer` from NICs that carry our program.
fn peers_of(datapath: &mut Datapath, needed: bool, interfaces: &Interfaces) -> Vec<Problem> {
    let have = interfaces.nics.is_some_and(|nics| nics.peer);
    if !needed || have {
        return Vec::new();
    }
    nics::attach_peers(datapath)
}

/// What keeps replies from their way on NICs that carry our program, or are about to.
fn ways_of(
    datapath: &mut Datapath,
    needed: bool,
    (interfaces, refused): (&Interfaces, &[Problem]),
) -> Vec<Problem> {
    let have = interfaces.nics.map(|nics| nics.way_back);
    if !needed || have == Some(WayBack::Needed) {
        return Vec::new();
    }
    let mut problems = nics::attach_ways(datapath);
    problems.extend(refused.iter().cloned());
    problems
}

/// `before`: a reading that nothing has changed since.
fn install(
    (datapath, differ): (&mut Datapath, &mut Differ),
    desired: &Desired,
    before: Result<Arc<Installed>, Problem>,
) -> Installation {
    let mut made = 0;
    datapath.share_labels(&desired.rules);
    let mut reading = before;
    for _ in 0..PASSES {
        let installed = match reading {
            Ok(installed) => installed,
            Err(problem) => return ended(Err(problem.clone()), vec![problem], made),
        };
        let changes = differ.diff(desired, &installed);
        if changes.is_empty() {
            return ended(Ok(installed), Vec::new(), made);
        }
        made += changes.len();
        let outcomes = datapath.apply(&changes);
        debug!(
            changes = changes.len(),
            pods = desired.pods.len(),
            "tables changed"
        );
        let failures: Vec<Problem> = changes.iter().zip(outcomes).filter_map(failure).collect();
        if !failures.is_empty() {
            return ended(read(datapath.installed()), failures, made);
        }
        reading = read(datapath.pinned().installed_after(&installed, &changes));
    }
    let message = "the tables did not settle; the agent tries again";
    let problem = Problem::new(TABLES, "Unsettled", message, "report this as a bug if it stays");
    ended(reading, vec![problem], made)
}

const fn ended(
    installed: Result<Arc<Installed>, Problem>,
    failures: Vec<Problem>,
    changes: usize,
) -> Installation {
    Installation {
        installed,
        failures,
        changes,
    }
}

fn read(reading: Result<Installed, OpenError>) -> Result<Arc<Installed>, Problem> {
    reading.map(Arc::new).map_err(|error| {
        let remedy = "`xdp-agent uninstall` and a new start make the tables anew";
        Problem::new(TABLES, "TablesUnreadable", chain(error), remedy)
    })
}

fn failure((change, outcome): (&Change, Outcome)) -> Option<Problem> {
    let Outcome::Failed(error) = outcome else {
        return None;
    };
    let remedy = "the agent tries again by itself; the packets concerned go to the stack meanwhile";
    Some(Problem::new(
        TABLES,
        "ChangeFailed",
        format!("{change:?}: {}", chain(error)),
        remedy,
    ))
}
