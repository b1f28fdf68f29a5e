//! `xdp-operator run`: the loop.

mod execute;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use execute::Executor;
use futures::FutureExt as _;
use tokio::{
    sync::{mpsc, watch},
    time,
};
use tracing::{error, info};
use xdp_client::{
    connect,
    health::Health,
    process::shutdown_signal,
    serve::{MetricsSource, Server},
};

use crate::{
    debounce::Debounce,
    election::{Candidate, Lost},
    metrics::Metrics,
    watch as watches,
    world::{Change, World},
};

/// Changes that wait while a round writes; then the watches wait.
const WAITING: usize = 1024;
/// Without any change the loop comes round this often.
const IDLE: Duration = Duration::from_secs(15);
/// A rollout makes its changes within moments: they become one round.
const QUIET: Duration = Duration::from_millis(100);
/// However many changes come, a round begins after this.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A reconcile loop that has not run for this long hangs: each wait in it is shorter.
const LONGEST_SILENCE: Duration = Duration::from_mins(1);

/// What `run` needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where probes and metrics are served.
    pub listen: SocketAddr,
    /// Where the Lease is.
    pub lease_namespace: String,
    /// Under which name to lead.
    pub identity: String,
}

/// Runs until SIGTERM or SIGINT, or until the Lease is lost.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let client = connect().await?;
    let health = Arc::new(Health::new(LONGEST_SILENCE, "the first lists"));
    let metrics = Arc::new(Metrics::default());
    let server = Server::bind(options.listen)?;
    info!(version = env!("CARGO_PKG_VERSION"), listen = %options.listen, identity = options.identity, "starts");
    let mut candidate = Candidate::new(client.clone(), &options.lease_namespace, &options.identity);
    let (leads, leading) = watch::channel(false);
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut operator = Loop {
        world: World::default(),
        debounce: Debounce::new(QUIET, LONGEST_WAIT),
        next: None,
        changes: receiver,
        leading,
        health: Arc::clone(&health),
        executor: Executor::new(client.clone(), Arc::clone(&metrics), &options.identity),
        metrics: Arc::clone(&metrics),
    };
    let ended = tokio::select! {
        lost = candidate.stand(&leads) => Ended::Lost(lost),
        () = shutdown_signal() => Ended::Told,
        () = operator.turn() => Ended::Broken,
        () = watches::all(client, sender) => Ended::Broken,
        result = server.run(health, Some(metrics_source(metrics))) => {
            return result.context("the HTTP server failed");
        }
    };
    // Whatever was being written is abandoned by now: nobody writes while another may lead.
    match ended {
        Ended::Told => {
            candidate.release().await;
            info!("ends");
            Ok(())
        }
        Ended::Lost(lost) => {
            error!(holder = lost.holder, "lease lost");
            Err(lost.into())
        }
        Ended::Broken => anyhow::bail!("a part of the loop has ended, which cannot be"),
    }
}

fn metrics_source(metrics: Arc<Metrics>) -> MetricsSource {
    Box::new(move |format| {
        let text = metrics.text(format);
        Box::pin(async { text })
    })
}

enum Ended {
    Told,
    Lost(Lost),
    Broken,
}

struct Loop {
    world: World,
    debounce: Debounce,
    next: Option<Instant>,
    changes: mpsc::Receiver<Change>,
    leading: watch::Receiver<bool>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    executor: Executor,
}

impl Loop {
    /// Turns for ever; ends only with the watches.
    async fn turn(&mut self) {
        loop {
            self.health.beat();
            let now = Instant::now();
            if self.due().is_some_and(|due| due <= now) {
                self.round().await;
                continue;
            }
            let wake = self.due().unwrap_or(now + IDLE).min(now + IDLE);
            tokio::select! {
                change = self.changes.recv() => match change {
                    Some(change) => self.take(change),
                    None => return,
                },
                changed = self.leading.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let leads = *self.leading.borrow_and_update();
                    self.metrics.leads(leads);
                    // What another leader has announced meanwhile is in the statuses.
                    self.executor.forget();
                    self.debounce.touch(Instant::now());
                }
                () = time::sleep_until(wake.into()) => {}
            }
        }
    }

    /// Takes a change in, and those that wait behind it.
    fn take(&mut self, first: Change) {
        let mut changed = self.world.apply(first);
        while let Some(Some(change)) = self.changes.recv().now_or_never() {
            changed |= self.world.apply(change);
        }
        if changed {
            self.debounce.touch(Instant::now());
        }
        match self.world.missing().as_slice() {
            [] => self.health.set_ready(),
            missing => self
                .health
                .set_waiting_for(format!("the first lists of {}", missing.join(", "))),
        }
    }

    /// When a round is due: only a leader makes rounds, and only with complete lists.
    fn due(&self) -> Option<Instant> {
        if !*self.leading.borrow() || !self.world.is_complete() {
            return None;
        }
        [self.debounce.due(), self.next].into_iter().flatten().min()
    }

    async fn round(&mut self) {
        self.debounce.reset();
        self.next = None;
        let mut leading = self.leading.clone();
        let deposed = leading.wait_for(|leads| !leads).map(drop);
        tokio::select! {
            biased;
            () = deposed => {}
            done = self.executor.round(&mut self.world, &self.health) => {
                self.next = done.next;
                if done.changed {
                    self.debounce.touch(Instant::now());
                }
            }
        }
    }
}
