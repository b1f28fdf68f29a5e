//! Does what a round has decided.

use std::{sync::Arc, time::Instant};

use futures::{StreamExt, stream};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::Client;
use tracing::{Instrument as _, debug, info, info_span, warn};
use xdp_client::{apply::RequestError, backoff::jitter, health::Health, object::Versioned};

use crate::{
    announce::Note,
    api::{
        Publisher, StatusWrite, {self},
    },
    metrics::Metrics,
    peers::Chain,
    round::{
        Memory, Work, {self},
    },
    world::{PeerSet, PolicyObject, World},
};

/// Writes at the same time.
const AT_ONCE: usize = 8;

pub(super) struct Executor {
    client: Client,
    metrics: Arc<Metrics>,
    memory: Memory,
    publisher: Publisher,
}

/// What a round leaves.
pub(super) struct Done {
    /// When the next one is due even if nothing changes.
    pub(super) next: Option<Instant>,
    /// Whether writes have changed what is known.
    pub(super) changed: bool,
}

impl Executor {
    pub(super) fn new(client: Client, metrics: Arc<Metrics>, me: &str) -> Self {
        Self {
            publisher: Publisher::new(client.clone(), me),
            memory: Memory::default(),
            client,
            metrics,
        }
    }

    /// Forgets what belongs to the time before a change of leaders.
    pub(super) fn forget(&mut self) {
        self.memory = Memory::default();
    }

    pub(super) async fn round(&mut self, world: &mut World, health: &Health) -> Done {
        let started = Instant::now();
        // As precise as the API stores it: otherwise what is read back would differ.
        let time = Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default());
        let work = round::work(world, &mut self.memory, started, &time);
        debug!(micros = started.elapsed().as_micros() as u64, "decided");
        self.metrics.tally(&work.tally);
        let Work {
            chains,
            statuses,
            notes,
            next,
            ..
        } = work;
        let peers = info_span!("reconcile", controller = "peers", peers = chains.len());
        let mut changed = self.peers(world, health, chains, started).instrument(peers).await;
        let status = info_span!("reconcile", controller = "status", policies = statuses.len());
        changed |= self.statuses(world, health, statuses).instrument(status).await;
        let events = info_span!("reconcile", controller = "events", events = notes.len());
        self.notes(notes).instrument(events).await;
        Done { next, changed }
    }

    async fn peers(
        &mut self,
        world: &mut World,
        health: &Health,
        chains: Vec<Chain>,
        started: Instant,
    ) -> bool {
        let client = self.client.clone();
        let mut ends = stream::iter(chains)
            .map(|chain| walk(&client, chain))
            .buffer_unordered(AT_ONCE);
        let (mut changed, mut failed) = (false, false);
        while let Some((chain, done, error)) = ends.next().await {
            health.beat();
            let steps = done.len();
            for item in done {
                changed |= world.peer_sets.put(item);
            }
            let now = Instant::now();
            match error {
                None => {
                    info!(peer = %chain.peer, steps, "slices written");
                    self.memory.peers.succeeded(&chain.peer, now);
                }
                Some(error) => {
                    warn!(peer = %chain.peer, steps, %error, "slices not written; trying again");
                    self.memory.peers.failed(&chain.peer, now, jitter());
                    (failed, changed) = (true, true);
                }
            }
        }
        self.metrics.reconciled("peers", started.elapsed(), !failed);
        changed
    }

    async fn statuses(&mut self, world: &mut World, health: &Health, statuses: Vec<StatusWrite>) -> bool {
        let started = Instant::now();
        let client = self.client.clone();
        let mut answers = stream::iter(statuses)
            .map(|write| async {
                let answer = api::write_status(&client, &write).await;
                (write, answer)
            })
            .buffer_unordered(AT_ONCE);
        let (mut changed, mut failed) = (false, false);
        while let Some((write, answer)) = answers.next().await {
            health.beat();
            changed |= self.answered(world, &write, answer, &mut failed);
        }
        self.metrics.reconciled("status", started.elapsed(), !failed);
        changed
    }

    fn answered(
        &mut self,
        world: &mut World,
        write: &StatusWrite,
        answer: Result<Versioned<PolicyObject>, RequestError>,
        failed: &mut bool,
    ) -> bool {
        let now = Instant::now();
        let policy = &write.name;
        match answer {
            Ok(item) => {
                let (nodes, pods) = (write.status.nodes, write.status.pods);
                info!(
                    %policy, nodes.selected, nodes.programmed, pods.selected, pods.programmed, "status written"
                );
                self.metrics.status_written(true);
                self.memory.statuses.succeeded(policy, now);
                world.policies.put(item)
            }
            // It has been deleted, or made anew: the watch will say so.
            Err(error) if error.is_status(404) || error.is_status(409) => {
                debug!(%policy, %error, "status not written");
                self.memory.statuses.failed(policy, now, jitter());
                true
            }
            Err(error) => {
                warn!(%policy, %error, "status not written; trying again");
                self.metrics.status_written(false);
                self.memory.statuses.failed(policy, now, jitter());
                *failed = true;
                true
            }
        }
    }

    async fn notes(&mut self, notes: Vec<Note>) {
        let started = Instant::now();
        let mut failed = false;
        for note in notes {
            let Note {
                kind, name, reason, ..
            } = &note;
            match self.publisher.publish(&note).await {
                Ok(()) => info!(kind, %name, reason, note.text, "event"),
                Err(error) => {
                    failed = true;
                    warn!(kind, %name, reason, %error, "event not made");
                }
            }
        }
        self.metrics.reconciled("events", started.elapsed(), !failed);
    }
}

/// Takes the steps of a chain in order, up to the first that fails.
async fn walk(client: &Client, chain: Chain) -> (Chain, Vec<Versioned<PeerSet>>, Option<RequestError>) {
    let mut done = Vec::new();
    for step in &chain.steps {
        match api::take_step(client, step).await {
            Ok(item) => done.push(item),
            Err(error) => return (chain, done, Some(error)),
        }
    }
    (chain, done, None)
}
