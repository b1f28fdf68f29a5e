//! The agent around its reconciles: takes objects from the source, reports to log, status, metrics and
//! cluster.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{Span, field::Empty, info, info_span, warn};
use xdp_client::error_chain;
use xdp_core::tables::MAX_PROBLEMS;
use xdp_crds::XdpNodeStateStatus;
use xdp_plan::{compile::Shares, nics::NicSelector, report::Problem};

use crate::{
    datapath::Datapath,
    node::system,
    reconcile::{
        problem_log::{ProblemLog, shared_out},
        reconciler::{Outcome, Reconciler, Report, Resync},
    },
    report::{explain::ProgrammedRules, metrics::AgentMetrics, serve::AgentHealth},
    source::{ObjectSource, Objects},
};

/// Where reconciles are reported to.
#[derive(Clone, Default)]
pub(super) struct Listeners {
    pub(super) health: Arc<AgentHealth>,
    pub(super) metrics: Arc<AgentMetrics>,
    /// What `explain` knows of policies and pods.
    pub(super) known: Arc<ProgrammedRules>,
}

/// The agent of one node.
pub(super) struct Agent {
    reconciler: Reconciler<Datapath>,
    source: ObjectSource,
    problem_log: ProblemLog,
    listeners: Listeners,
    /// When the oldest change came that is not programmed yet.
    waiting_since: Option<Instant>,
    reconciles: u64,
}

impl Agent {
    pub(super) fn new(
        datapath: Datapath,
        source: ObjectSource,
        (selector, shares): (NicSelector, Shares),
        listeners: Listeners,
    ) -> Self {
        Self {
            reconciler: Reconciler::new(datapath, selector, shares),
            source,
            problem_log: ProblemLog::default(),
            listeners,
            waiting_since: None,
            reconciles: 0,
        }
    }

    /// Makes one reconcile, and reports it.
    pub(super) fn reconcile(&mut self, resync: Resync) -> Outcome {
        let started = Instant::now();
        self.reconciles += 1;
        let number = self.reconciles;
        let span = info_span!(
            "reconcile",
            number,
            policies = Empty,
            pods = Empty,
            changes = Empty
        );
        let _entered = span.entered();
        let (problems, since) = self.source.reload(resync == Resync::Full);
        self.waiting_since = self.waiting_since.or(since);
        let problems: BTreeSet<Problem> = problems.into_iter().collect();
        let objects = self.source.objects();
        let (outcome, problems) = if let Some(objects) = &objects {
            self.program(objects, resync, problems, started)
        } else {
            self.report_problems(&problems, started.elapsed());
            (Outcome::Done, problems)
        };
        let Listeners { health, metrics, .. } = &self.listeners;
        metrics.reconciled(outcome != Outcome::Requeue, started.elapsed());
        metrics.problems(problems.len());
        health.reconciled(objects.is_some());
        outcome
    }

    /// Does what is done now and then between reconciles. Returns whether the order of programs has changed
    /// in a hook since it was read.
    pub(super) fn idle(&mut self) -> bool {
        self.reconciler.sweep_flows();
        self.reconciler.is_order_changed()
    }

    fn program(
        &mut self,
        objects: &Objects,
        resync: Resync,
        problems: BTreeSet<Problem>,
        started: Instant,
    ) -> (Outcome, BTreeSet<Problem>) {
        Span::current().record("policies", objects.policies.len());
        Span::current().record("pods", objects.pods.len());
        self.report_restrictions(objects);
        let report = self.reconciler.reconcile(objects, resync, problems);
        Span::current().record("changes", report.changes);
        let Report {
            outcome,
            problems,
            status,
            compiled,
            programmed,
            ..
        } = report;
        if programmed && let Some(since) = self.waiting_since.take() {
            self.listeners.metrics.enforced(since.elapsed());
        }
        if let Some((targets, of_policies)) = &compiled {
            self.listeners.known.update(targets, of_policies);
        }
        self.report_problems(&problems, started.elapsed());
        self.publish(status);
        (outcome, problems)
    }

    fn report_restrictions(&self, objects: &Objects) {
        let mut restricted = objects
            .certainty
            .iter()
            .filter(|(_, certain)| !certain.is_everything());
        let count = restricted.clone().count();
        if self.listeners.metrics.restricted_pods(count) {
            let first = restricted
                .next()
                .and_then(|(_, certain)| certain.reasons().first());
            let because = first.map(ToString::to_string).unwrap_or_default();
            info!(pods = count, because, "network policies restrict redirects");
        }
    }

    /// The log first: a problem in the status is found there.
    fn report_problems(&mut self, problems: &BTreeSet<Problem>, took: Duration) {
        let list = shared_out(problems, MAX_PROBLEMS as usize);
        if self.problem_log.update(problems.clone()) {
            let milliseconds = took.as_millis() as u64;
            info!(problems = problems.len(), milliseconds, "reconciled");
        }
        if let Err(error) = self.reconciler.kernel().set_problems(&list) {
            warn!(error = %error_chain(&error), "cannot write the problems for `status`");
        }
    }

    fn publish(&self, status: XdpNodeStateStatus) {
        let programmed = status.policies.iter().filter(|policy| policy.programmed);
        let programmed = programmed.map(|policy| {
            (
                policy.namespace.clone(),
                policy.name.clone(),
                policy.observed_generation,
            )
        });
        self.listeners.metrics.policies(programmed.collect());
        let status = XdpNodeStateStatus {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel_version: system::kernel_release(),
            boot_id: system::boot_id(),
            ..status
        };
        self.source.publish(status.with_summary());
    }
}
