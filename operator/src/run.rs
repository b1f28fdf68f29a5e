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
use kube::{Client, Config};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time,
};
use tracing::{error, info};

use crate::{
    election::{Candidate, Lost},
    http::{
        Health, {self},
    },
    metrics::Metrics,
    pace::Debounce,
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
    let config = Config::infer()
        .await
        .context("no way to the API server; run it in a pod with a service account, or set KUBECONFIG")?;
    let client = Client::try_from(config).context("the way to the API server cannot be used")?;
    let health = Arc::new(Health::default());
    let metrics = Arc::new(Metrics::default());
    let listener = http::listen(options.listen).await?;
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
        () = told_to_end() => Ended::Told,
        () = operator.turn() => Ended::Broken,
        () = watches::all(client, sender) => Ended::Broken,
        result = http::serve(listener, health, metrics) => return result.context("HTTP is not served any more"),
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

enum Ended {
    Told,
    Lost(Lost),
    Broken,
}

async fn told_to_end() {
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(error) => {
                error!(%error, "signals cannot be received");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::interrupt()) => {}
    }
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
        self.health.missing(self.world.missing());
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
