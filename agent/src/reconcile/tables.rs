//! The tables: brought in line with what is wanted, and read back.

mod install;
mod prepare;

use std::{collections::BTreeSet, sync::Arc};

use install::{install, read};
use prepare::{Needs, prepare};
use xdp_client::error_chain;
use xdp_plan::{
    compile::{Compiler, Desired},
    diff::Differ,
    drain::go_on,
    facts::NodeFacts,
    installed::Installed,
    report::Problem,
    targets::{Targets, targets},
};

use crate::{
    datapath::Datapath,
    node::netns::Namespaces,
    reconcile::{
        flows::Flows,
        interfaces::Interfaces,
        nics::{NicNeeds, ReplyPath},
        pods,
        unready::{loose, unready},
    },
    source::Objects,
};

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
    /// NICs that were found to refuse the program of the reply path before they could carry ours.
    pub(super) ways: &'a [Problem],
    pub(super) interfaces: &'a mut Interfaces,
}

/// What was wanted and what is there.
pub(super) struct ReadBack {
    pub(super) targets: Targets,
    pub(super) desired: Desired,
    pub(super) installed: Arc<Installed>,
}

/// Puts policies in force for pods.
pub(super) fn program(tools: Tools<'_>, objects: &Objects) -> Tables {
    match tools.interfaces.facts() {
        Ok(facts) => program_for(tools, objects, &facts),
        Err(error) => {
            let problem = Problem::new(
                "interfaces",
                "NetlinkFailed",
                error_chain(&error),
                "the agent asks again by itself; what is in force stays so",
            );
            Tables {
                read_back: Err(problem.clone()),
                failures: vec![problem],
                problems: Vec::new(),
                changes: 0,
                of_nics: NicNeeds {
                    peer: true,
                    reply_path: ReplyPath::Needed,
                },
            }
        }
    }
}

fn program_for(mut tools: Tools<'_>, objects: &Objects, facts: &NodeFacts) -> Tables {
    let looked = tools.interfaces.ready.is_empty();
    let targets = targets(&objects.policies, &objects.pods, facts);
    let before = read(tools.datapath.installed());
    let draining = before.as_ref().map_or_else(
        |_| Vec::new(),
        |installed| tools.flows.draining(tools.datapath, installed, (&targets, facts)),
    );
    let needs = Needs::of(&targets, &draining);
    let prepared = prepare(&mut tools, needs, (&targets, &draining));
    let mut desired = tools.compiler.compile(&targets, &prepared.deliveries);
    go_on(&mut desired, &draining, &prepared.deliveries);
    let own = targets.problems.iter().chain(&desired.problems).cloned();
    let problems = own.chain(unready(&desired, false)).chain(loose(needs.reply_path));
    let problems = problems.collect();
    let mut failures = prepared.failures;
    failures.extend(unready(&desired, true));
    let installation = install((tools.datapath, tools.differ), &desired, before);
    let failed = !installation.failures.is_empty();
    failures.extend(installation.failures);
    if !failed {
        pods::release_hooks(tools.datapath, &prepared.deliveries.keys().copied().collect());
    }
    if let Ok(installed) = &installation.installed {
        failures.extend(tools.flows.settle(tools.datapath, installed));
    }
    if looked {
        let live: BTreeSet<u32> = facts.pairs.iter().map(|pair| pair.host.ifindex).collect();
        pods::prune(tools.datapath, &live);
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
        of_nics: needs.of_nics(failed, prepared.refused),
    }
}
