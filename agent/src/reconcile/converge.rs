//! Facts → compile → diff → apply, until nothing is left to change.

use std::{collections::BTreeSet, mem, sync::Arc, time::Instant};

use tracing::debug;
use xdp_plan::{
    attach::{AttachmentDecision, HookRefusal, MOST_MOVES, Refused, RefusedStep, Situation, decide, retries},
    change::{Change, ChangeResult},
    desired::Desired,
    drain::{Draining, keep_draining},
    facts::NotReady,
    hook::{AttachPoint, Hook},
    installed::Installed,
    nics::NicSelector,
    node_state::TABLES,
    report::Problem,
    targets::Targets,
};

use crate::reconcile::{
    kernel::{ChangeError, Kernel, unreadable_flows},
    reconciler::Kept,
    view::View,
};

/// Each hook that refuses something takes a pass, and numbers that one pass frees are assigned by the next:
/// renaming all rules of a full node takes five.
const PASSES: usize = 24;

/// What a reconcile works on.
pub(super) struct Convergence<'a, K> {
    pub(super) kernel: &'a mut K,
    pub(super) selector: &'a NicSelector,
    pub(super) kept: &'a mut Kept,
    pub(super) view: &'a mut View,
    pub(super) targets: &'a Targets,
    pub(super) draining: &'a [Draining],
    /// Problems of changes that failed.
    pub(super) failures: Vec<Problem>,
    /// How many changes were made.
    pub(super) changes: usize,
}

/// Where it ends.
pub(super) struct Converged {
    pub(super) decision: AttachmentDecision,
    pub(super) desired: Desired,
    /// Read after the last change.
    pub(super) installed: Result<Arc<Installed>, Problem>,
}

impl<K: Kernel> Convergence<'_, K> {
    /// `tables`: a reading that nothing has changed since.
    pub(super) fn run(&mut self, tables: Installed) -> Converged {
        let mut installed = self.with_attachments(tables);
        if !self.kept.refused.is_empty() {
            installed = self.retry(&installed);
        }
        let (mut decision, mut desired) = self.desire();
        for _ in 0..PASSES {
            let changes = self.kept.differ.diff(&desired, &installed);
            if changes.is_empty() {
                return Converged {
                    decision,
                    desired,
                    installed: Ok(installed),
                };
            }
            let failed = !self.apply(&changes, desired.pods.len());
            let read = self.kernel.tables_after(&installed, &changes);
            let stops = failed || read.is_err();
            if changes.iter().any(|change| !change.is_of_tables()) {
                self.view.update(self.kernel, &changes);
                (decision, desired) = self.desire();
            }
            match read {
                Ok(read) => installed = self.with_attachments(read),
                Err(problem) => {
                    self.failures.push(problem.clone());
                    return Converged {
                        decision,
                        desired,
                        installed: Err(problem),
                    };
                }
            }
            if stops {
                return Converged {
                    decision,
                    desired,
                    installed: Ok(installed),
                };
            }
        }
        let message = format!("the tables did not converge in {PASSES} passes; the agent tries again");
        let remedy = "report this as a bug if it stays";
        self.failures
            .push(Problem::new(TABLES, "NotConverged", message, remedy));
        Converged {
            decision,
            desired,
            installed: Ok(installed),
        }
    }

    fn with_attachments(&self, tables: Installed) -> Arc<Installed> {
        Arc::new(Installed {
            attachments: self.view.attachments.clone(),
            ..tables
        })
    }

    /// What failed in the last reconcile is tried alone, so that nothing else is attached for it if it fails
    /// again.
    fn retry(&mut self, installed: &Arc<Installed>) -> Arc<Installed> {
        let before = mem::take(&mut self.kept.refused);
        let (_, desired) = self.desire();
        let changes = retries(self.kept.differ.diff(&desired, installed), &before);
        for change in &changes {
            self.apply(std::slice::from_ref(change), desired.pods.len());
        }
        self.view.update(self.kernel, &changes);
        self.with_attachments(Installed::clone(installed))
    }

    fn desire(&mut self) -> (AttachmentDecision, Desired) {
        let situation = Situation {
            targets: self.targets,
            draining: self.draining,
            pairs: &self.view.facts.pairs,
            nics: self.view.nics.as_deref().ok(),
            selector: self.selector,
            page_size: self.kernel.page_size(),
            installed: &self.view.attachments,
            refused: &self.kept.refused,
            release: !self.kept.released,
        };
        let decision = decide(&situation);
        let compiler = &mut self.kept.compiler;
        let mut desired = compiler.compile(self.targets, &decision.deliveries);
        // The programs of an older layout are replaced by those of this one when its tables are complete.
        while desired.pending && self.kernel.is_migrating() {
            desired = compiler.compile(self.targets, &decision.deliveries);
        }
        keep_draining(&mut desired, self.draining, &decision.deliveries);
        desired.attachments = decision.attachments.clone();
        desired.stations.clone_from(&decision.stations);
        self.kernel.share_labels(&desired.rules);
        (decision, desired)
    }

    /// Returns whether everything was applied, or what failed is left out from now on.
    fn apply(&mut self, changes: &[Change], pods: usize) -> bool {
        let now = Instant::now();
        if let Some(change) = changes.iter().find(|change| self.is_exhausted(change, now)) {
            return self.refuse(change, contested());
        }
        self.changes += changes.len();
        let results = self.kernel.apply(changes);
        debug!(changes = changes.len(), pods, "applied changes");
        let mut goes_on = true;
        for (change, result) in changes.iter().zip(results) {
            match &result {
                ChangeResult::Applied => self.view.follow(change, None),
                ChangeResult::Failed(error) => self.view.follow(change, Some(error)),
                ChangeResult::Skipped => {}
            }
            match (change, result) {
                (change, ChangeResult::Failed(error)) => goes_on &= self.refuse(change, error),
                (Change::MoveFirst { point, .. }, ChangeResult::Applied) => {
                    self.kept.moves.note(*point, now);
                }
                (_, ChangeResult::Applied | ChangeResult::Skipped) => {}
            }
        }
        goes_on
    }

    /// Whether the change moves a program in front that was moved too often already.
    fn is_exhausted(&self, change: &Change, now: Instant) -> bool {
        let Change::MoveFirst { point, .. } = change else {
            return false;
        };
        self.kept.moves.is_exhausted(*point, now)
    }

    /// Returns whether the change is left out from now on.
    fn refuse(&mut self, change: &Change, error: ChangeError) -> bool {
        let Refused { hooks, gro } = &mut self.kept.refused;
        let refusal = |step| HookRefusal {
            step,
            error: error.message.clone(),
            kernel_text: error.kernel_text.clone(),
            errno: error.errno,
        };
        match change {
            Change::Attach { point, .. } | Change::Replace { point, .. } => {
                hooks.insert(*point, refusal(RefusedStep::Attach));
            }
            Change::MoveFirst { point, .. } => {
                hooks.insert(*point, refusal(RefusedStep::MoveFirst));
            }
            Change::Detach { point, .. } => drop(hooks.insert(*point, refusal(RefusedStep::Detach))),
            Change::Probe { .. } => {
                let point = change.point().into_iter();
                hooks.extend(point.map(|point| (point, refusal(RefusedStep::Attach))));
            }
            Change::SetGro { host, .. } => {
                let reason = error.not_ready.unwrap_or(NotReady::GroRefused);
                gro.insert(*host, (reason, error.message));
            }
            // The view has it.
            Change::NoteConnections { .. } => {}
            other => {
                self.failures.push(failure(other, error));
                return false;
            }
        }
        true
    }

    /// NICs that should not have the program are detached once, when an agent starts.
    pub(super) fn note_released(&mut self) {
        let detaching = |(point, refusal): (&AttachPoint, &HookRefusal)| {
            point.hook == Hook::Nic && refusal.step == RefusedStep::Detach
        };
        let refused = self.kept.refused.hooks.iter().any(detaching);
        self.kept.released |= self.view.nics.is_ok() && !refused;
    }

    /// The problems of NICs that could not be read.
    pub(super) fn unread(&self) -> BTreeSet<Problem> {
        self.view.nics.as_ref().err().cloned().into_iter().collect()
    }
}

/// The refusal of a move that would be undone again.
fn contested() -> ChangeError {
    let message = format!(
        "it was moved in front {MOST_MOVES} times in a few minutes, and the other program came back each time"
    );
    ChangeError {
        message,
        errno: 0,
        kernel_text: String::new(),
        not_ready: None,
    }
}

fn failure(change: &Change, error: ChangeError) -> Problem {
    if matches!(
        change,
        Change::MigrateFlows | Change::PurgeFlows | Change::EndMigration
    ) {
        return unreadable_flows(error.message);
    }
    let remedy = "the agent tries again by itself; the packets concerned go to the stack meanwhile";
    Problem::new(
        TABLES,
        "ChangeFailed",
        format!("{change:?}: {}", error.message),
        remedy,
    )
}
