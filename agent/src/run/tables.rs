//! The tables: brought in line with what is wanted, and read back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tracing::debug;
use xdp_plan::{
    change::Change,
    compile::{Compiler, Desired},
    diff::Differ,
    facts::{NodeFacts, NotReady, Readiness},
    installed::{Installed, SlotIdentity},
    node_state::TABLES,
    report::Problem,
    targets::{Targets, targets},
};

use super::{
    nics,
    pods::{self, Asked},
    problems::chain,
};
use crate::{
    datapath::{Datapath, OpenError, Outcome},
    netlink::{self, NetlinkError},
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
    /// Whether any pod's rules use delivery `Peer`, or may.
    pub(super) peer: bool,
}

/// What a round works with.
pub(super) struct Tools<'a> {
    pub(super) datapath: &'a mut Datapath,
    pub(super) namespaces: &'a mut Namespaces,
    pub(super) compiler: &'a mut Compiler,
    pub(super) differ: &'a mut Differ,
    pub(super) interfaces: &'a mut Interfaces,
}

/// What was found out about interfaces.
#[derive(Default)]
pub(super) struct Interfaces {
    facts: Option<Arc<NodeFacts>>,
    /// Targets that were made ready, by the host's ifindex.
    pub(super) ready: BTreeMap<u32, Asked>,
    /// Whether NICs have the program for delivery `Peer` if they can, or none if they need not.
    pub(super) peer: Option<bool>,
}

impl Interfaces {
    fn facts(&mut self) -> Result<Arc<NodeFacts>, NetlinkError> {
        if let Some(facts) = &self.facts {
            return Ok(Arc::clone(facts));
        }
        let facts = Arc::new(netlink::facts()?);
        self.facts = Some(Arc::clone(&facts));
        Ok(facts)
    }
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
                peer: true,
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
        interfaces,
    } = tools;
    let looked = interfaces.ready.is_empty();
    let targets = targets(&objects.policies, &objects.pods, facts);
    let peer = targets.targets.iter().any(|target| target.wants_peer);
    let mut failures = if peer && interfaces.peer != Some(true) {
        nics::attach_peers(datapath)
    } else {
        Vec::new()
    };
    let deliveries = pods::prepare(
        (datapath, namespaces),
        &targets.targets,
        &failures,
        &mut interfaces.ready,
    );
    let desired = compiler.compile(&targets, &deliveries);
    let own = targets.problems.iter().chain(&desired.problems);
    let problems = own.cloned().chain(unready(&desired, false)).collect();
    failures.extend(unready(&desired, true));
    let installation = install(datapath, differ, &desired);
    // What could not be changed may still refer to the programs for it.
    let peer = peer || !installation.failures.is_empty();
    failures.extend(installation.failures);
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
        peer,
    }
}

/// Pods that cannot be delivered to as their rules want: those with which it may work later, or the others.
fn unready(desired: &Desired, transient: bool) -> Vec<Problem> {
    let deliveries = desired.pods.iter().flat_map(|pod| {
        let deliveries = [&pod.readiness, &pod.peer].into_iter();
        deliveries.map(|readiness| (&pod.identity, readiness))
    });
    deliveries
        .filter(|(_, readiness)| is_transient(readiness) == transient)
        .filter_map(|(pod, readiness)| not_ready(pod, readiness))
        .collect()
}

fn install(datapath: &mut Datapath, differ: &mut Differ, desired: &Desired) -> Installation {
    let mut made = 0;
    datapath.share_labels(&desired.rules);
    let mut reading = read(datapath.installed());
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

/// A link that comes up and a kind that changes announce themselves; all else is tried again.
fn is_transient(readiness: &Readiness) -> bool {
    matches!(readiness, Readiness::NotReady { reason, .. }
        if !matches!(reason, NotReady::LinkDown | NotReady::NotVeth))
}

fn not_ready(pod: &SlotIdentity, readiness: &Readiness) -> Option<Problem> {
    let Readiness::NotReady { reason, message } = readiness else {
        return None;
    };
    if *reason == NotReady::NotPrepared {
        // Nothing asks it to be ready.
        return None;
    }
    let remedy = "its Redirect rules pass to the stack until then; the agent tries again by itself";
    Some(Problem::new(
        format!("Pod {}/{}", pod.namespace, pod.pod),
        format!("{reason:?}"),
        message,
        remedy,
    ))
}
