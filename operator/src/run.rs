//! `xdp-operator run`: the loop.

mod execute;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use execute::{Executor, Finished};
use futures::{FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use ipnet::IpNet;
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
    election::{Campaign, LostLeadership},
    metrics::Metrics,
    reconcile::{PeerLimits, Reconciler},
    store::{ClusterState, StoreEvent},
    watch as watches,
};

/// Events that wait for the loop. When there are more, the watches wait.
const WAITING: usize = 1024;
/// Events that are applied before requests are started and answers are read.
const AT_ONCE: usize = 256;
/// Without an event, the loop runs this often.
const IDLE: Duration = Duration::from_secs(15);
/// A loop that has not run for this long hangs: each wait in it is shorter.
const LONGEST_SILENCE: Duration = Duration::from_mins(1);

/// Options of `run`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to serve probes and metrics.
    pub listen: ListenArgs,
    /// Namespace of the Lease and of the address sets.
    pub namespace: String,
    /// Identity in the Lease.
    pub identity: String,
    /// The bits that the marks of rules may have.
    pub marks: MarkMask,
    /// What the policies of one namespace may use.
    pub limits: PeerLimits,
    /// Networks with pods that are in no node's `podCIDRs`.
    pub cluster_cidrs: Vec<IpNet>,
}

/// Runs until SIGTERM or SIGINT, or until another process holds the Lease.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let health = Arc::new(Health::new(LONGEST_SILENCE, "the first lists"));
    let metrics = Arc::new(Metrics::default());
    info!(
        version = env!("CARGO_PKG_VERSION"),
        identity = options.identity,
        "starting"
    );
    serve(&options.listen, &health, &metrics)?;
    let client = connect().await?;
    let mut campaign = Campaign::start(options.namespace.clone(), options.identity.clone())?;
    let (sender, events) = mpsc::channel(WAITING);
    let cluster = ClusterState {
        namespace: options.namespace.clone(),
        marks: options.marks,
        ..ClusterState::default()
    };
    let mut reconciler = ReconcileLoop {
        reconciler: Reconciler::new(cluster, options.limits, options.cluster_cidrs.clone()),
        events,
        leading: campaign.leading.clone(),
        health,
        executor: Executor::new(client.clone(), Arc::clone(&metrics), &options.identity),
        metrics,
    };
    let ended = tokio::select! {
        lost = campaign.lost() => Ended::Election(lost),
        () = shutdown_signal() => Ended::Shutdown,
        () = reconciler.run() => Ended::TaskExited,
        () = watches::all(client, &options.namespace, sender) => Ended::TaskExited,
    };
    // All writes in progress are cancelled by now: this process does not write while another one may lead.
    match ended {
        Ended::Shutdown => {
            info!("shutting down");
            campaign.release();
            Ok(())
        }
        Ended::Election(lost) => {
            let lost = lost?;
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
    Election(anyhow::Result<LostLeadership>),
    TaskExited,
}

struct ReconcileLoop {
    reconciler: Reconciler,
    events: mpsc::Receiver<StoreEvent>,
    leading: watch::Receiver<bool>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    executor: Executor,
}

impl ReconcileLoop {
    /// Runs the loop. Returns only if the watches have ended.
    async fn run(&mut self) {
        let mut requests = FuturesUnordered::<LocalBoxFuture<'static, Finished>>::new();
        loop {
            self.health.beat();
            if *self.leading.borrow() {
                while let Some(request) = self.executor.start(&mut self.reconciler) {
                    requests.push(request);
                }
                self.metrics.set_snapshot(&self.reconciler.snapshot());
            }
            let now = Instant::now();
            let wake = self.reconciler.due().unwrap_or(now + IDLE).min(now + IDLE);
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.apply(event),
                    None => return,
                },
                changed = self.leading.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // A former leader must not write.
                    requests.clear();
                    self.leadership_changed();
                }
                Some(finished) = requests.next(), if !requests.is_empty() => {
                    self.executor.finish(&mut self.reconciler, finished);
                }
                () = time::sleep_until(wake.into()) => self.reconciler.prune(now),
            }
        }
    }
    fn leadership_changed(&mut self) {
        let leads = *self.leading.borrow_and_update();
        self.metrics.set_leader(leads);
        self.reconciler.set_leading(leads, Instant::now());
    }

    /// Applies an event, and others that wait.
    fn apply(&mut self, first: StoreEvent) {
        let now = Instant::now();
        self.reconciler.apply(first, now);
        for _ in 1..AT_ONCE {
            match self.events.try_recv() {
                Ok(event) => self.reconciler.apply(event, now),
                Err(_) => break,
            }
        }
        match self.reconciler.cluster().missing().as_slice() {
            [] => self.health.set_ready(),
            missing => self
                .health
                .set_waiting_for(format!("the first lists of {}", missing.join(", "))),
        }
    }
}
