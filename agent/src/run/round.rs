//! One round: from what is wanted and what is there to what is in force.

use std::collections::BTreeSet;

use tracing::{debug, info, warn};
use xdp_plan::{
    change::Change,
    compile::{Desired, compile},
    diff::diff,
    facts::{NodeFacts, NotReady, Readiness},
    report::Problem,
    targets::targets,
};

use super::{
    nics, pods,
    problems::{Told, chain},
};
use crate::{
    datapath::{Datapath, Outcome},
    netlink,
    netns::Namespaces,
    nic::NicSelector,
    source::Manifests,
};

/// Numbers that a round frees can be handed out by the next: a full table needs a second pass, never more than this.
const PASSES: usize = 4;

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// Everything that can be in force is.
    Settled,
    /// Something failed that may succeed later.
    Incomplete,
}

/// What the loop keeps between rounds.
pub(super) struct Agent {
    datapath: Datapath,
    manifests: Manifests,
    selector: NicSelector,
    namespaces: Namespaces,
    released: bool,
    told: Told,
}

impl Agent {
    pub(super) fn new(datapath: Datapath, manifests: Manifests, selector: NicSelector) -> Self {
        let (namespaces, told) = (Namespaces::default(), Told::default());
        Self {
            datapath,
            manifests,
            selector,
            namespaces,
            released: false,
            told,
        }
    }

    /// Brings the tables, then the NICs, in line with what is wanted.
    pub(super) fn round(&mut self) -> Round {
        let mut problems: BTreeSet<Problem> = self.manifests.reload().into_iter().collect();
        let mut failures = Vec::new();
        match netlink::facts() {
            Ok(facts) => failures.extend(self.program(&facts, &mut problems)),
            Err(error) => failures.push(Problem::new(
                "interfaces",
                "NetlinkFailed",
                chain(error),
                "the agent asks again by itself; what is in force stays so",
            )),
        }
        failures.extend(self.attach());
        let settled = failures.is_empty();
        problems.extend(failures);
        self.tell(problems);
        if settled {
            Round::Settled
        } else {
            Round::Incomplete
        }
    }

    /// The tables. What is returned may succeed later; what is added to `problems` needs a person.
    fn program(&mut self, facts: &NodeFacts, problems: &mut BTreeSet<Problem>) -> Vec<Problem> {
        let (policies, pods) = self.manifests.objects();
        let targets = targets(&policies, &pods, facts);
        let readiness = pods::prepare(&mut self.datapath, &mut self.namespaces, &targets.targets);
        let desired = compile(&targets, &readiness);
        problems.extend(targets.problems.iter().chain(&desired.problems).cloned());
        problems.extend(
            desired
                .pods
                .iter()
                .filter_map(|pod| not_ready(&pod.identity, &pod.readiness)),
        );
        let failures = self.install(&desired);
        pods::prune(
            &mut self.datapath,
            &facts.pairs.iter().map(|pair| pair.host.ifindex).collect(),
        );
        let transient = |readiness: &Readiness| {
            // A link that comes up and a kind that changes announce themselves.
            matches!(readiness, Readiness::NotReady { reason, .. }
                if !matches!(reason, NotReady::LinkDown | NotReady::NotVeth))
        };
        let retry = desired.pods.iter().filter(|pod| transient(&pod.readiness));
        retry
            .filter_map(|pod| not_ready(&pod.identity, &pod.readiness))
            .chain(failures)
            .collect()
    }

    fn install(&mut self, desired: &Desired) -> Vec<Problem> {
        for _ in 0..PASSES {
            let installed = match self.datapath.installed() {
                Ok(installed) => installed,
                Err(error) => {
                    let remedy = "`xdp-agent uninstall` and a new start make the tables anew";
                    return vec![Problem::new("tables", "TablesUnreadable", chain(error), remedy)];
                }
            };
            let changes = diff(desired, &installed);
            if changes.is_empty() {
                return Vec::new();
            }
            let outcomes = self.datapath.apply(&changes);
            debug!(
                changes = changes.len(),
                pods = desired.pods.len(),
                "tables changed"
            );
            let failures: Vec<Problem> = changes.iter().zip(outcomes).filter_map(failure).collect();
            if !failures.is_empty() {
                return failures;
            }
        }
        let message = "the tables did not settle; the agent tries again";
        vec![Problem::new(
            "tables",
            "Unsettled",
            message,
            "report this as a bug if it stays",
        )]
    }

    /// The NICs, after the tables: the first packet finds them filled.
    fn attach(&mut self) -> Vec<Problem> {
        if !self.released {
            if let Err(problem) = nics::release(&self.datapath, &self.selector) {
                return vec![problem];
            }
            self.released = true;
        }
        nics::attach(&self.datapath, &self.selector).unwrap_or_else(|problem| vec![problem])
    }

    /// The log first: who reads of a problem in the status finds it there.
    fn tell(&mut self, problems: BTreeSet<Problem>) {
        let list: Vec<Problem> = problems.iter().cloned().collect();
        if self.told.update(problems) {
            info!(problems = list.len(), "round done");
        }
        if let Err(error) = self.datapath.set_problems(&list) {
            warn!(error = %chain(error), "problems could not be written for `status`");
        }
    }
}

fn failure((change, outcome): (&Change, Outcome)) -> Option<Problem> {
    let Outcome::Failed(error) = outcome else {
        return None;
    };
    let remedy = "the agent tries again by itself; the packets concerned go to the stack meanwhile";
    Some(Problem::new(
        "tables",
        "ChangeFailed",
        format!("{change:?}: {}", chain(error)),
        remedy,
    ))
}

fn not_ready(pod: &xdp_plan::installed::SlotIdentity, readiness: &Readiness) -> Option<Problem> {
    let Readiness::NotReady { reason, message } = readiness else {
        return None;
    };
    let remedy = "its Redirect rules pass to the stack until then; the agent tries again by itself";
    Some(Problem::new(
        format!("Pod {}/{}", pod.namespace, pod.pod),
        format!("{reason:?}"),
        message,
        remedy,
    ))
}
