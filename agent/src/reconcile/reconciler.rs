//! One reconcile: from what is desired and what is installed to a report of what is programmed.

use std::collections::BTreeSet;

use xdp_crds::{NicState, XdpNodeStateStatus};
use xdp_plan::{
    attach::{Moves, Refused, pod_problems},
    compile::{Compiler, Shares},
    diff::Differ,
    installed::Installed,
    nics::{NicSelector, states},
    node_state::{Reconciled, TABLES, TableState, node_state},
    report::Problem,
    targets::{Holders, Targets, targets_with, wanted},
};

use crate::{
    reconcile::{
        conntrack::warn_strict_conntrack,
        converge::{Converged, Convergence},
        flows::Flows,
        kernel::Kernel,
        view::View,
    },
    source::Objects,
};

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything that can be programmed is.
    Done,
    /// Policies are left to compile: the next turn goes on.
    Pending,
    /// Something failed that may succeed later.
    Requeue,
}

/// What a reconcile reads again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resync {
    /// Policies, pods and tables; interfaces and hooks are as the last reconcile found them.
    Objects,
    /// Everything.
    Full,
}

/// Makes reconciles.
pub(super) struct Reconciler<K> {
    kernel: K,
    selector: NicSelector,
    kept: Kept,
    view: Option<View>,
}

/// What is kept between reconciles, besides the last reading of interfaces.
#[derive(Default)]
pub(super) struct Kept {
    /// Policies that have not changed are not compiled again.
    pub(super) compiler: Compiler,
    /// Whether the compiler knows what was programmed when the agent started.
    adopted: bool,
    /// Blocks that have not changed are not compared again.
    pub(super) differ: Differ,
    /// Since when flows are quiet: only time tells whether a pod has drained.
    flows: Flows,
    /// What the kernel refused: it is tried alone the next time.
    pub(super) refused: Refused,
    /// Programs that were moved in front of those of other owners.
    pub(super) moves: Moves,
    /// NICs that are not selected were detached: that is done once, at the start.
    pub(super) released: bool,
}

/// What a reconcile reports.
pub(super) struct Report {
    pub(super) outcome: Outcome,
    /// Everything that is wrong.
    pub(super) problems: BTreeSet<Problem>,
    /// The node's status, without the versions.
    pub(super) status: XdpNodeStateStatus,
    /// How many changes were made.
    pub(super) changes: usize,
    /// The targets, and what is wrong with their policies; `None`: they are not known.
    pub(super) compiled: Option<(Targets, Vec<Problem>)>,
    /// All tables were changed as desired.
    pub(super) programmed: bool,
}

impl<K: Kernel> Reconciler<K> {
    pub(super) fn new(kernel: K, selector: NicSelector, shares: Shares) -> Self {
        let kept = Kept {
            compiler: Compiler::new(shares),
            ..Kept::default()
        };
        Self {
            kernel,
            selector,
            kept,
            view: None,
        }
    }

    /// Whether a program of another owner has come in front of the agent's, or is there no more. The kernel
    /// reports no change of a tcx hook.
    pub(super) fn is_order_changed(&self) -> bool {
        let view = self.view.as_ref();
        view.is_some_and(|view| view.is_order_changed(&self.kernel))
    }

    /// Adapts the shares of pods in the flow tables, if it is time for that.
    pub(super) fn sweep_flows(&mut self) {
        self.kept.flows.sweep(&mut self.kernel);
    }

    pub(super) const fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// Brings what is installed in line with what is desired. `problems`: those that are known already.
    pub(super) fn reconcile(
        &mut self,
        objects: &Objects,
        resync: Resync,
        mut problems: BTreeSet<Problem>,
    ) -> Report {
        problems.extend(objects.problems.iter().cloned());
        let full = resync == Resync::Full || self.view.is_none();
        let report = match self.read(objects, full) {
            Ok((holders, tables, view)) => self.program(objects, (&holders, tables, view), full, problems),
            Err(problem) => unknown(objects, problem, problems),
        };
        if report.outcome == Outcome::Requeue {
            self.view = None;
        }
        report
    }

    /// Reads the tables, and of interfaces and hooks what is not known yet.
    fn read(&mut self, objects: &Objects, full: bool) -> Result<(Holders, Installed, View), Problem> {
        let before = self.view.take().filter(|_| !full);
        let tables = self.kernel.tables()?;
        let holders = Holders::new(&tables);
        let wanted = wanted(&objects.policies, &objects.pods, &holders);
        let view = match before {
            Some(mut view) => {
                view.want(&mut self.kernel, wanted)?;
                view
            }
            None => View::read(&mut self.kernel, wanted)?,
        };
        Ok((holders, tables, view))
    }

    fn program(
        &mut self,
        objects: &Objects,
        (holders, tables, mut view): (&Holders, Installed, View),
        full: bool,
        problems: BTreeSet<Problem>,
    ) -> Report {
        let mut targets = targets_with(&objects.policies, &objects.pods, &view.facts, holders);
        targets.restrict(&objects.certainty);
        if !std::mem::replace(&mut self.kept.adopted, true) {
            self.kept.compiler.adopt(&tables);
        }
        let known = (&targets, &*view.facts);
        let mut draining = self.kept.flows.keep_draining(&mut self.kernel, &tables, known);
        draining.retain(|draining| !draining.is_restricted(&objects.certainty));
        view.read_pods(&mut self.kernel, &targets, &draining);
        let mut convergence = Convergence {
            kernel: &mut self.kernel,
            selector: &self.selector,
            kept: &mut self.kept,
            view: &mut view,
            targets: &targets,
            draining: &draining,
            failures: Vec::new(),
            changes: 0,
        };
        let converged = convergence.run(tables);
        convergence.note_released();
        let unread = convergence.unread();
        let (mut failures, changes) = (convergence.failures, convergence.changes);
        failures.extend(unread);
        if let Ok(installed) = &converged.installed {
            failures.extend(self.kept.flows.purge(&mut self.kernel, installed));
        }
        if full {
            let live = view.facts.pairs.iter().map(|pair| pair.host.ifindex);
            self.kernel.purge_failures(&live.collect());
        }
        let report = self.report(
            objects,
            &view,
            (targets, converged),
            (failures, changes, problems),
        );
        self.view = Some(view);
        report
    }

    fn report(
        &self,
        objects: &Objects,
        view: &View,
        (targets, converged): (Targets, Converged),
        (mut failures, changes, mut problems): (Vec<Problem>, usize, BTreeSet<Problem>),
    ) -> Report {
        let Converged {
            decision,
            desired,
            installed,
        } = converged;
        let unfinished = desired.pending || objects.unfinished;
        let programmed =
            installed.is_ok() && !unfinished && !failures.iter().any(|problem| problem.object == TABLES);
        failures.extend(decision.failures.iter().cloned());
        failures.extend(pod_problems(&desired, true));
        problems.extend(failures.iter().cloned());
        problems.extend(decision.notes.iter().chain(&targets.notes).cloned());
        problems.extend(view.facts.problems.iter().cloned());
        problems.extend(view.unlisted.values().cloned());
        problems.extend(targets.problems.iter().chain(&desired.problems).cloned());
        problems.extend(pod_problems(&desired, false));
        problems.extend(warn_strict_conntrack(&self.kernel, decision.needs_reply_path));
        let nics = nic_states(view, decision.selected.as_ref(), &problems);
        let status = node_state(&Reconciled {
            node_policies: &objects.node_policies,
            pods: &objects.pods,
            certainty: &objects.certainty,
            tables: installed
                .as_deref()
                .map_err(Clone::clone)
                .map(|installed| TableState {
                    targets: &targets,
                    desired: &desired,
                    installed,
                    differ: &self.kept.differ,
                }),
            nics: &nics,
            selected: decision.selected.as_ref(),
            problems: &problems,
        });
        Report {
            outcome: if unfinished {
                Outcome::Pending
            } else if !failures.is_empty() {
                Outcome::Requeue
            } else {
                Outcome::Done
            },
            problems,
            status,
            changes,
            compiled: installed.is_ok().then_some((targets, desired.problems)),
            programmed,
        }
    }
}

fn nic_states(
    view: &View,
    selected: Option<&BTreeSet<String>>,
    problems: &BTreeSet<Problem>,
) -> Vec<NicState> {
    let (Ok(nics), Some(selected)) = (&view.nics, selected) else {
        return Vec::new();
    };
    let problems: Vec<&Problem> = problems.iter().collect();
    states(nics, &view.attachments, selected, &problems)
}

/// The report of a reconcile that could not read what is there.
fn unknown(objects: &Objects, problem: Problem, mut problems: BTreeSet<Problem>) -> Report {
    problems.insert(problem.clone());
    let status = node_state(&Reconciled {
        node_policies: &objects.node_policies,
        pods: &objects.pods,
        certainty: &objects.certainty,
        tables: Err(problem),
        nics: &[],
        selected: None,
        problems: &problems,
    });
    Report {
        outcome: Outcome::Requeue,
        problems,
        status,
        changes: 0,
        compiled: None,
        programmed: false,
    }
}
