//! `xdp-operator run`: the reconcile loop.

mod execute;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use execute::Executor;
use futures::FutureExt as _;
use tokio::{
    sync::{mpsc, watch},
    time,
};
use tracing::{error, info};
use xdp_client::{
    connect,
    health::{Health, Probes},
    process::shutdown_signal,
    serve::{
        Encoder, ListenArgs, MetricsDoor, {self},
    },
};
use xdp_crds::policy::MarkMask;

use crate::{
    debounce::Debounce,
    election::{Candidate, LostLeadership},
    metrics::Metrics,
    store::{ClusterState, StoreEvent},
    watch as watches,
};

/// Events that wait while a reconcile writes. When there are more, the watches wait.
const WAITING: usize = 1024;
/// Without an event, the loop runs this often.
const IDLE: Duration = Duration::from_secs(15);
/// A rollout changes many objects within moments. They become one reconcile.
const QUIET: Duration = Duration::from_millis(100);
/// A reconcile starts after this time even if changes do not pause.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// A loop that has not run for this long hangs: each wait in it is shorter.
const LONGEST_SILENCE: Duration = Duration::from_mins(1);

/// Options of `run`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to serve probes and metrics.
    pub listen: ListenArgs,
    /// Namespace of the Lease.
    pub lease_namespace: String,
    /// Identity in the Lease.
    pub identity: String,
    /// The bits that the marks of rules may have.
    pub marks: MarkMask,
}

/// Runs until SIGTERM or SIGINT, or until another process holds the Lease.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let client = connect().await?;
    let health = Arc::new(Health::new(LONGEST_SILENCE, "the first lists"));
    let metrics = Arc::new(Metrics::default());
    serve(&options.listen, &health, &metrics)?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        identity = options.identity,
        "starting"
    );
    let mut candidate = Candidate::new(client.clone(), &options.lease_namespace, &options.identity);
    let (leads, leading) = watch::channel(false);
    let (sender, events) = mpsc::channel(WAITING);
    let mut reconciler = ReconcileLoop {
        cluster: ClusterState {
            marks: options.marks,
            ..ClusterState::default()
        },
        debounce: Debounce::new(QUIET, LONGEST_WAIT),
        next: None,
        events,
        leading,
        health: Arc::clone(&health),
        executor: Executor::new(client.clone(), Arc::clone(&metrics), &options.identity),
        metrics: Arc::clone(&metrics),
    };
    let ended = tokio::select! {
        lost = candidate.campaign(&leads) => Ended::LostLeadership(lost),
        () = shutdown_signal() => Ended::Shutdown,
        () = reconciler.run() => Ended::TaskExited,
        () = watches::all(client, sender) => Ended::TaskExited,
    };
    // All writes in progress are cancelled by now: this process does not write while another one may lead.
    match ended {
        Ended::Shutdown => {
            info!("shutting down");
            candidate.release().await;
            Ok(())
        }
        Ended::LostLeadership(lost) => {
            error!(holder = lost.holder, "lost the lease");
            Err(lost.into())
        }
        Ended::TaskExited => anyhow::bail!("a background task exited unexpectedly"),
    }
}

fn serve(listen: &ListenArgs, health: &Arc<Health>, metrics: &Arc<Metrics>) -> anyhow::Result<()> {
    let health = Arc::clone(health) as Arc<dyn Probes>;
    let probes = listen.health_probe_bind_address.map(|address| (address, health));
    let metrics = Arc::clone(metrics);
    let source = move || {
        let metrics = Arc::clone(&metrics);
        let encoder: Encoder = Box::new(move |format, out| metrics.encode(format, out));
        futures::future::ready(encoder).boxed()
    };
    let door = listen.metrics(true)?.map(|(address, access)| MetricsDoor {
        address,
        access,
        source: Box::new(source),
    });
    let addresses = serve::start(probes, door)?;
    info!(probes = ?addresses.probes, metrics = ?addresses.metrics, "serving HTTP");
    Ok(())
}

enum Ended {
    Shutdown,
    LostLeadership(LostLeadership),
    TaskExited,
}

struct ReconcileLoop {
    cluster: ClusterState,
    debounce: Debounce,
    /// When the next reconcile is due even if nothing changes.
    next: Option<Instant>,
    events: mpsc::Receiver<StoreEvent>,
    leading: watch::Receiver<bool>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    executor: Executor,
}

impl ReconcileLoop {
    /// Runs the loop. Returns only if the watches have ended.
    async fn run(&mut self) {
        loop {
            self.health.beat();
            let now = Instant::now();
            if self.due().is_some_and(|due| due <= now) {
                self.reconcile().await;
                continue;
            }
            let wake = self.due().unwrap_or(now + IDLE).min(now + IDLE);
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.apply(event),
                    None => return,
                },
                changed = self.leading.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.leadership_changed();
                }
                () = time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn leadership_changed(&mut self) {
        let leads = *self.leading.borrow_and_update();
        self.metrics.set_leader(leads);
        // The stored statuses show the Events that another leader has created meanwhile.
        self.executor.reset();
        self.debounce.touch(Instant::now());
    }

    /// Applies an event, and all events that wait.
    fn apply(&mut self, first: StoreEvent) {
        let mut changed = self.cluster.apply(first);
        while let Some(Some(event)) = self.events.recv().now_or_never() {
            changed |= self.cluster.apply(event);
        }
        if changed {
            self.debounce.touch(Instant::now());
        }
        match self.cluster.missing().as_slice() {
            [] => self.health.set_ready(),
            missing => self
                .health
                .set_waiting_for(format!("the first lists of {}", missing.join(", "))),
        }
    }

    /// Returns when a reconcile is due. Only a leader reconciles, and only with complete lists.
    fn due(&self) -> Option<Instant> {
        if !*self.leading.borrow() || !self.cluster.is_complete() {
            return None;
        }
        [self.debounce.due(), self.next].into_iter().flatten().min()
    }

    async fn reconcile(&mut self) {
        self.debounce.reset();
        self.next = None;
        let mut leading = self.leading.clone();
        let lost_leadership = leading.wait_for(|leads| !leads).map(drop);
        tokio::select! {
            biased;
            () = lost_leadership => {}
            outcome = self.executor.reconcile(&mut self.cluster, &self.health) => {
                self.next = outcome.next;
                if outcome.changed {
                    self.debounce.touch(Instant::now());
                }
            }
        }
    }
}
