//! Makes the requests that the reconciler asks for, and tells it how they have ended.

use std::{sync::Arc, time::Instant};

use futures::{FutureExt as _, future::LocalBoxFuture};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::Client;
use tokio::sync::Mutex;
use tracing::{debug, info, warn};
use xdp_client::{apply::RequestError, backoff::jitter, object::Versioned};

use crate::{
    api::{self, Publisher, StatusWrite},
    events::EventDraft,
    metrics::Metrics,
    peers::Step,
    reconcile::{Answer, Command, Reconciler, SliceCommand},
    store::{PolicyObject, StoredSlice},
};

pub(super) struct Executor {
    client: Client,
    metrics: Arc<Metrics>,
    /// One Event is created at a time.
    publisher: Arc<Mutex<Publisher>>,
}

/// A request that has been answered, and when it was made.
pub(super) struct Finished {
    outcome: Outcome,
    started: Instant,
}

enum Outcome {
    Slice(SliceCommand, Result<Versioned<StoredSlice>, RequestError>),
    Status(Box<StatusWrite>, Result<Versioned<PolicyObject>, RequestError>),
    Event(Box<EventDraft>, Result<(), RequestError>),
}

impl Executor {
    pub(super) fn new(client: Client, metrics: Arc<Metrics>, identity: &str) -> Self {
        Self {
            publisher: Arc::new(Mutex::new(Publisher::new(client.clone(), identity))),
            client,
            metrics,
        }
    }

    /// Returns a request to make now, or `None`.
    pub(super) fn start(&self, reconciler: &mut Reconciler) -> Option<LocalBoxFuture<'static, Finished>> {
        let started = Instant::now();
        // In whole seconds, as the API stores times. Otherwise the stored status would differ from the
        // written one.
        let time = Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default());
        let command = reconciler.start(started, &time)?;
        let (client, publisher) = (self.client.clone(), Arc::clone(&self.publisher));
        let request = async move {
            let outcome = match command {
                Command::Slice(command) => {
                    let answer = api::execute_step(&client, &command.step).await;
                    Outcome::Slice(command, answer)
                }
                Command::Status(write) => {
                    let answer = api::write_status(&client, &write).await;
                    Outcome::Status(write, answer)
                }
                Command::Event(draft) => {
                    let answer = publisher.lock().await.publish(&draft).await;
                    Outcome::Event(draft, answer)
                }
            };
            Finished { outcome, started }
        };
        Some(request.boxed_local())
    }

    /// Records the end of a request.
    pub(super) fn finish(&self, reconciler: &mut Reconciler, finished: Finished) {
        let now = Instant::now();
        let took = now - finished.started;
        match finished.outcome {
            Outcome::Slice(command, answer) => {
                self.metrics.reconciled("peers", took, answer.is_ok());
                let answer = slice_answer(&command.step, answer);
                reconciler.finish_slice(&command, answer, now);
            }
            Outcome::Status(write, answer) => {
                let answer = self.status_answer(&write, took, answer);
                reconciler.finish_status(&write.name, answer, now);
            }
            Outcome::Event(draft, answer) => {
                self.metrics.reconciled("events", took, answer.is_ok());
                event_answered(&draft, answer);
                reconciler.finish_event();
            }
        }
    }

    fn status_answer(
        &self,
        write: &StatusWrite,
        took: std::time::Duration,
        answer: Result<Versioned<PolicyObject>, RequestError>,
    ) -> Answer<Versioned<PolicyObject>> {
        let policy = &write.name;
        let (nodes, pods) = (write.status.nodes, write.status.pods);
        match answer {
            Ok(object) => {
                info!(
                    %policy,
                    nodes.selected,
                    nodes.programmed,
                    pods.selected,
                    pods.programmed,
                    "wrote the status"
                );
                self.metrics.reconciled("status", took, true);
                self.metrics.status_written(true);
                Ok(object)
            }
            // The policy was deleted, or deleted and created again. The watch will report it.
            Err(error) if error.is_status(404) || error.is_status(409) => {
                debug!(%policy, %error, "cannot write the status");
                self.metrics.reconciled("status", took, true);
                Err(jitter())
            }
            Err(error) => {
                warn!(%policy, %error, "cannot write the status; retrying");
                self.metrics.reconciled("status", took, false);
                self.metrics.status_written(false);
                Err(jitter())
            }
        }
    }
}

fn slice_answer(
    step: &Step,
    answer: Result<Versioned<StoredSlice>, RequestError>,
) -> Answer<Versioned<StoredSlice>> {
    let (verb, name) = match step {
        Step::Write(slice) => ("write", &slice.name),
        Step::Delete(name) => ("delete", name),
    };
    match &answer {
        Ok(_) => debug!(%name, verb, "changed a slice"),
        Err(error) => warn!(%name, verb, %error, "cannot change a slice; retrying"),
    }
    answer.map_err(|_| jitter())
}

fn event_answered(draft: &EventDraft, answer: Result<(), RequestError>) {
    let EventDraft {
        kind,
        name,
        reason,
        message,
        ..
    } = draft;
    match answer {
        Ok(()) => info!(kind, %name, reason, text = message, "created an event"),
        Err(error) => warn!(kind, %name, reason, %error, "cannot create an event"),
    }
}
