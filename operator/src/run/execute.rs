//! Executes what a reconcile has decided.

use std::{sync::Arc, time::Instant};

use futures::{StreamExt, stream};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::Client;
use tracing::{Instrument as _, debug, info, info_span, warn};
use xdp_client::{apply::RequestError, backoff::jitter, health::Health, object::Versioned};

use crate::{
    api::{self, Publisher, StatusWrite},
    events::EventDraft,
    metrics::Metrics,
    peers::Chain,
    reconcile::{ReconcileMemory, Work, decide},
    store::{ClusterState, PolicyObject, StoredSlice},
};

/// Concurrent writes.
const CONCURRENT_WRITES: usize = 8;

pub(super) struct Executor {
    client: Client,
    metrics: Arc<Metrics>,
    memory: ReconcileMemory,
    publisher: Publisher,
}

/// The outcome of a reconcile.
pub(super) struct ReconcileOutcome {
    /// When the next reconcile is due even if nothing changes.
    pub(super) next: Option<Instant>,
    /// Whether the writes have changed the store.
    pub(super) changed: bool,
}

impl Executor {
    pub(super) fn new(client: Client, metrics: Arc<Metrics>, identity: &str) -> Self {
        Self {
            publisher: Publisher::new(client.clone(), identity),
            memory: ReconcileMemory::default(),
            client,
            metrics,
        }
    }

    /// Forgets all earlier reconciles, after a change of the leader.
    pub(super) fn reset(&mut self) {
        self.memory = ReconcileMemory::default();
    }

    pub(super) async fn reconcile(
        &mut self,
        cluster: &mut ClusterState,
        health: &Health,
    ) -> ReconcileOutcome {
        let started = Instant::now();
        // In whole seconds, as the API stores times. Otherwise the stored status would differ from the
        // written one.
        let time = Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default());
        let work = decide(cluster, &mut self.memory, started, &time);
        debug!(micros = started.elapsed().as_micros() as u64, "decided");
        self.metrics.set_snapshot(&work.snapshot);
        let Work {
            chains,
            statuses,
            events,
            next,
            ..
        } = work;
        let span = info_span!("reconcile", controller = "peers", peers = chains.len());
        let mut changed = self
            .peers(cluster, health, chains, started)
            .instrument(span)
            .await;
        let span = info_span!("reconcile", controller = "status", policies = statuses.len());
        changed |= self.statuses(cluster, health, statuses).instrument(span).await;
        let span = info_span!("reconcile", controller = "events", events = events.len());
        self.events(events).instrument(span).await;
        ReconcileOutcome { next, changed }
    }

    async fn peers(
        &mut self,
        cluster: &mut ClusterState,
        health: &Health,
        chains: Vec<Chain>,
        started: Instant,
    ) -> bool {
        let client = self.client.clone();
        let mut results = stream::iter(chains)
            .map(|chain| execute_chain(&client, chain))
            .buffer_unordered(CONCURRENT_WRITES);
        let (mut changed, mut failed) = (false, false);
        while let Some((chain, slices, error)) = results.next().await {
            health.beat();
            let steps = slices.len();
            for slice in slices {
                changed |= cluster.peer_sets.put(slice);
            }
            let now = Instant::now();
            match error {
                None => {
                    info!(peer = %chain.peer, steps, "wrote slices");
                    self.memory.peers.succeeded(&chain.peer, now);
                }
                Some(error) => {
                    warn!(peer = %chain.peer, steps, %error, "cannot write slices; retrying");
                    self.memory.peers.failed(&chain.peer, now, jitter());
                    (failed, changed) = (true, true);
                }
            }
        }
        self.metrics.reconciled("peers", started.elapsed(), !failed);
        changed
    }

    async fn statuses(
        &mut self,
        cluster: &mut ClusterState,
        health: &Health,
        statuses: Vec<StatusWrite>,
    ) -> bool {
        let started = Instant::now();
        let client = self.client.clone();
        let mut answers = stream::iter(statuses)
            .map(|write| async {
                let answer = api::write_status(&client, &write).await;
                (write, answer)
            })
            .buffer_unordered(CONCURRENT_WRITES);
        let (mut changed, mut failed) = (false, false);
        while let Some((write, answer)) = answers.next().await {
            health.beat();
            changed |= self.status_answered(cluster, &write, answer, &mut failed);
        }
        self.metrics.reconciled("status", started.elapsed(), !failed);
        changed
    }

    fn status_answered(
        &mut self,
        cluster: &mut ClusterState,
        write: &StatusWrite,
        answer: Result<Versioned<PolicyObject>, RequestError>,
        failed: &mut bool,
    ) -> bool {
        let now = Instant::now();
        let policy = &write.name;
        match answer {
            Ok(object) => {
                let (nodes, pods) = (write.status.nodes, write.status.pods);
                info!(
                    %policy,
                    nodes.selected,
                    nodes.programmed,
                    pods.selected,
                    pods.programmed,
                    "wrote the status"
                );
                self.metrics.status_written(true);
                self.memory.statuses.succeeded(policy, now);
                cluster.policies.put(object)
            }
            // The policy was deleted, or deleted and created again. The watch will report it.
            Err(error) if error.is_status(404) || error.is_status(409) => {
                debug!(%policy, %error, "cannot write the status");
                self.memory.statuses.failed(policy, now, jitter());
                true
            }
            Err(error) => {
                warn!(%policy, %error, "cannot write the status; retrying");
                self.metrics.status_written(false);
                self.memory.statuses.failed(policy, now, jitter());
                *failed = true;
                true
            }
        }
    }

    async fn events(&mut self, drafts: Vec<EventDraft>) {
        let started = Instant::now();
        let mut failed = false;
        for draft in drafts {
            let EventDraft {
                kind,
                name,
                reason,
                message,
                ..
            } = &draft;
            match self.publisher.publish(&draft).await {
                Ok(()) => info!(kind, %name, reason, text = message, "created an event"),
                Err(error) => {
                    failed = true;
                    warn!(kind, %name, reason, %error, "cannot create an event");
                }
            }
        }
        self.metrics.reconciled("events", started.elapsed(), !failed);
    }
}

/// Executes the steps of a chain in order, up to the first that fails.
async fn execute_chain(
    client: &Client,
    chain: Chain,
) -> (Chain, Vec<Versioned<StoredSlice>>, Option<RequestError>) {
    let mut done = Vec::new();
    for step in &chain.steps {
        match api::execute_step(client, step).await {
            Ok(slice) => done.push(slice),
            Err(error) => return (chain, done, Some(error)),
        }
    }
    (chain, done, None)
}
