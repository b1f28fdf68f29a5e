//! Who may read the metrics.
//!
//! As controller-runtime does it: a `TokenReview` asks the API server whose bearer token it is, and
//! a `SubjectAccessReview` whether that user may `get` the non-resource URL `/metrics`.

mod budget;
mod cache;
mod queue;
mod refusal;
mod review;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header::AUTHORIZATION};
use kube::Client;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tracing::warn;

use self::{
    cache::{Cached, ReviewCache, TokenDigest, Verdict},
    queue::{ReviewQueue, Start, Ticket},
    refusal::Refusal,
    review::{ReviewError, review},
};
use crate::serve::places::Network;

/// The path whose readers are reviewed.
pub(super) const METRICS: &str = "/metrics";
/// A request waits this long for the review of its token.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a request that waits looks whether time has brought a review.
const TICK: Duration = Duration::from_millis(50);

/// Reviews bearer tokens.
pub(super) struct Reviewer {
    client: Client,
    state: Mutex<ReviewState>,
    /// Wakes the requests that wait for their review.
    changed: Notify,
}

struct ReviewState {
    cache: ReviewCache,
    queue: ReviewQueue,
    /// The tokens that are reviewed, or wait for it, and what came of it.
    flights: BTreeMap<TokenDigest, watch::Receiver<Option<Outcome>>>,
}

type Outcome = Result<Verdict, ReviewError>;

/// How a request learns about its token.
enum Step {
    /// It is known.
    Known(Verdict),
    /// Another request with the same token has it reviewed.
    Follow(watch::Receiver<Option<Outcome>>),
    /// This request has it reviewed.
    Lead(watch::Sender<Option<Outcome>>),
}

impl Reviewer {
    pub(super) fn new(client: Client) -> Self {
        let state = Mutex::new(ReviewState {
            cache: ReviewCache::default(),
            queue: ReviewQueue::new(Instant::now()),
            flights: BTreeMap::new(),
        });
        let changed = Notify::new();
        Self {
            client,
            state,
            changed,
        }
    }

    /// Returns whether the sender of a request may read the metrics.
    pub(super) async fn authorize(&self, network: Network, headers: &HeaderMap) -> Result<(), Refusal> {
        let token = bearer(headers).ok_or(Refusal::NoToken)?;
        let digest = TokenDigest::of(token);
        loop {
            let (step, was_allowed) = self.step(digest);
            let outcome = match step {
                Step::Known(verdict) => Ok(verdict),
                Step::Follow(mut flight) => match flight.wait_for(Option::is_some).await.as_deref() {
                    Ok(Some(outcome)) => outcome.clone(),
                    // The other request has ended without a review.
                    _ => continue,
                },
                Step::Lead(sender) => {
                    let flight = Flight {
                        reviewer: self,
                        digest,
                        sender,
                    };
                    flight.review(network, token, was_allowed).await?
                }
            };
            return self.conclude(network, outcome, was_allowed);
        }
    }

    fn step(&self, digest: TokenDigest) -> (Step, bool) {
        let mut state = self.state();
        let cached = state.cache.look_up(digest, Instant::now());
        let was_allowed = cached == Cached::WasAllowed;
        if let Cached::Fresh(verdict) = cached {
            return (Step::Known(verdict), was_allowed);
        }
        if let Some(flight) = state.flights.get(&digest) {
            return (Step::Follow(flight.clone()), was_allowed);
        }
        let (sender, receiver) = watch::channel(None);
        state.flights.insert(digest, receiver);
        (Step::Lead(sender), was_allowed)
    }

    fn conclude(&self, network: Network, outcome: Outcome, was_allowed: bool) -> Result<(), Refusal> {
        match outcome {
            Ok(Verdict::Allowed) => {
                self.state().queue.learn(network, Instant::now());
                Ok(())
            }
            Ok(Verdict::Forbidden(user)) => Err(Refusal::Forbidden(user)),
            Ok(Verdict::Unauthenticated) => Err(Refusal::Unauthenticated),
            Err(ReviewError::Outage(reason)) if was_allowed => {
                warn!(
                    reason,
                    "a scraper that was allowed before stays so: no answer to a review"
                );
                Ok(())
            }
            Err(error) => {
                warn!(%error, "cannot review the bearer token of a scraper");
                Err(Refusal::NoAnswer)
            }
        }
    }

    /// Waits until a token of a network may be reviewed.
    async fn turn(&self, network: Network) -> Result<Turn<'_>, Refusal> {
        let ticket = self.state().queue.join(network, Instant::now());
        let mut turn = Turn {
            reviewer: self,
            ticket: ticket.ok_or(Refusal::TooMany)?,
            has_started: false,
        };
        let wait = async {
            loop {
                // Created before the check: it also completes for what changes between the check and the
                // wait.
                let changed = self.changed.notified();
                let start = self.state().queue.start(turn.ticket, Instant::now());
                match start {
                    Start::Now => return Ok(()),
                    Start::Never => return Err(Refusal::TooMany),
                    // Time alone brings reviews, too.
                    Start::Later => drop(timeout(TICK, changed).await),
                }
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or(Err(Refusal::TooMany))?;
        turn.has_started = true;
        self.changed.notify_waiters();
        Ok(turn)
    }

    fn state(&self) -> MutexGuard<'_, ReviewState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The review of a token, on which other requests with the same token wait.
struct Flight<'a> {
    reviewer: &'a Reviewer,
    digest: TokenDigest,
    sender: watch::Sender<Option<Outcome>>,
}

impl Flight<'_> {
    async fn review(self, network: Network, token: &str, was_allowed: bool) -> Result<Outcome, Refusal> {
        // A token that was allowed is renewed even while others send invalid ones.
        let turn = if was_allowed {
            None
        } else {
            Some(self.reviewer.turn(network).await?)
        };
        let outcome = review(&self.reviewer.client, token).await;
        drop(turn);
        let mut state = self.reviewer.state();
        match &outcome {
            Ok(verdict) => state.cache.insert(self.digest, verdict.clone(), Instant::now()),
            Err(ReviewError::Refused(_)) => state.cache.remove(self.digest),
            Err(ReviewError::Outage(_)) => {}
        }
        drop(state);
        self.sender.send_replace(Some(outcome.clone()));
        Ok(outcome)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        // Before the sender: who sees its end finds no flight, and begins one.
        self.reviewer.state().flights.remove(&self.digest);
    }
}

/// A request that waits for a review, or has it.
struct Turn<'a> {
    reviewer: &'a Reviewer,
    ticket: Ticket,
    has_started: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.reviewer.state();
        if self.has_started {
            state.queue.end(self.ticket);
        } else {
            state.queue.leave(self.ticket);
        }
        drop(state);
        self.reviewer.changed.notify_waiters();
    }
}

/// Returns the bearer token of a request. The name of the scheme has no case (RFC 9110).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
