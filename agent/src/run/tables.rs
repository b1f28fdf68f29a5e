//! The tables: brought in line with what is wanted, and read back.

use std::collections::BTreeSet;

use tracing::debug;
use xdp_plan::{
    change::Change,
    compile::{Compiler, Desired},
    diff::diff,
    drain::go_on,
    facts::{NodeFacts, NotReady, Readiness},
    installed::{Installed, SlotIdentity},
    node_state::TABLES,
    report::Problem,
    targets::{Targets, targets},
};

use super::{
    flows::{Flows, carry},
    nics::{self, WayBack},
    pods::{self, Obstacles},
    problems::chain,
};
use crate::{
    datapath::{Datapath, Outcome},
    netlink,
    netns::Namespaces,
    source::Objects,
    system,
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
    /// Whether any pod relies on the way back, or may.
    pub(super) way_back: WayBack,
}

/// What a round works with.
pub(super) struct Tools<'a> {
    pub(super) datapath: &'a mut Datapath,
    pub(super) namespaces: &'a mut Namespaces,
    pub(super) compiler: &'a mut Compiler,
    pub(super) flows: &'a mut Flows,
    /// NICs that were found to refuse the program of the way back before they could carry ours.
    pub(super) ways: &'a [Problem],
}

/// What was wanted and what is there.
pub(super) struct ReadBack {
    pub(super) targets: Targets,
    pub(super) desired: Desired,
    pub(super) installed: Installed,
}

/// What became of a list of changes.
struct Installation {
    /// Read after the last change.
    installed: Result<Installed, Problem>,
    failures: Vec<Problem>,
    changes: usize,
}

/// Puts policies in force for pods.
pub(super) fn program(tools: Tools<'_>, objects: &Objects) -> Tables {
    match netlink::facts() {
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
                way_back: WayBack::Needed,
            }
        }
    }
}

fn program_for(tools: Tools<'_>, objects: &Objects, facts: &NodeFacts) -> Tables {
    let Tools {
        datapath,
        namespaces,
        compiler,
        flows,
        ways,
    } = tools;
    let targets = targets(&objects.policies, &objects.pods, facts);
    let before = read(datapath);
    let draining = before.as_ref().map_or_else(
        |_| Vec::new(),
        |installed| flows.draining(datapath, installed, (&targets, facts)),
    );
    let peer = targets.targets.iter().any(|target| target.wants_peer);
    let mut failures = if peer {
        nics::attach_peers(datapath)
    } else {
        Vec::new()
    };
    let redirects = targets.targets.iter().any(|target| target.wants_redirect);
    let needs_ways = redirects || peer || !draining.is_empty();
    let ways = ways_of(datapath, needs_ways, ways);
    let carried = carry(datapath);
    let going_on = draining.iter().map(|draining| &draining.target);
    let deliveries = pods::prepare(
        datapath,
        namespaces,
        targets.targets.iter().chain(going_on),
        Obstacles {
            peers: &failures,
            ways: &ways,
        },
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
    let installation = install(datapath, &desired, before);
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
    let live: BTreeSet<u32> = facts.pairs.iter().map(|pair| pair.host.ifindex).collect();
    pods::prune(datapath, &live);
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
        way_back: match ways.is_empty() {
            _ if !needs_ways => WayBack::NotNeeded,
            true => WayBack::Needed,
            false => WayBack::Refused,
        },
    }
}

/// What keeps replies from their way on NICs that carry our program, or are about to.
fn ways_of(datapath: &mut Datapath, needed: bool, refused: &[Problem]) -> Vec<Problem> {
    if !needed {
        return Vec::new();
    }
    let mut problems = nics::attach_ways(datapath);
    problems.extend(refused.iter().cloned());
    problems
}

/// What the node's own setting means for flows that are lost.
fn loose(needs_ways: bool) -> Option<Problem> {
    (needs_ways && system::picks_up_connections() == Some(false)).then(|| {
        let message = "nf_conntrack_tcp_loose is 0: a connection that the programs no longer know (its entry was \
                       evicted, or its policy was removed and it was silent for a minute) is dropped by the stack, \
                       where rules drop what connection tracking calls INVALID, instead of going on there";
        let remedy = "sysctl -w net.netfilter.nf_conntrack_tcp_loose=1, or make the tables large enough (--flows)";
        Problem::new("connection tracking", "TcpLooseOff", message, remedy)
    })
}

/// Pods that cannot be delivered to as their rules want: those with which it may work later, or the others.
fn unready(desired: &Desired, transient: bool) -> Vec<Problem> {
    let deliveries = desired.pods.iter().flat_map(|pod| {
        let deliveries = [&pod.readiness, &pod.peer, &pod.way_back].into_iter();
        deliveries.map(|readiness| (&pod.identity, readiness))
    });
    deliveries
        .filter(|(_, readiness)| is_transient(readiness) == transient)
        .filter_map(|(pod, readiness)| not_ready(pod, readiness))
        .collect()
}

/// `before`: a reading that nothing has changed since.
fn install(datapath: &mut Datapath, desired: &Desired, before: Result<Installed, Problem>) -> Installation {
    let (mut made, mut before) = (0, Some(before));
    for _ in 0..PASSES {
        let installed = match before.take().unwrap_or_else(|| read(datapath)) {
            Ok(installed) => installed,
            Err(problem) => return ended(Err(problem.clone()), vec![problem], made),
        };
        let changes = diff(desired, &installed);
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
            return ended(read(datapath), failures, made);
        }
    }
    let message = "the tables did not settle; the agent tries again";
    let problem = Problem::new(TABLES, "Unsettled", message, "report this as a bug if it stays");
    ended(read(datapath), vec![problem], made)
}

const fn ended(
    installed: Result<Installed, Problem>,
    failures: Vec<Problem>,
    changes: usize,
) -> Installation {
    Installation {
        installed,
        failures,
        changes,
    }
}

fn read(datapath: &Datapath) -> Result<Installed, Problem> {
    datapath.installed().map_err(|error| {
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
