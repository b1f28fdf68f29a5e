//! Scrapes: few at the same time, and each is sent while it is encoded, so that its memory is bounded.

#[cfg(test)]
mod tests;
mod turns;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{future::BoxFuture, stream};
use tokio::{
    sync::{Notify, mpsc},
    task::spawn_blocking,
    time::timeout,
};
pub(super) use turns::SCRAPES;
use turns::{Start, Turns};

use crate::{
    metrics::Format,
    serve::{
        access::{METRICS, Reviewer},
        listener::RequestClient,
    },
};

/// A scrape waits this long for its turn.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a scrape that waits looks for one whose client does not read.
const TICK: Duration = Duration::from_millis(100);
/// Bytes of one chunk.
const CHUNK: usize = 64 << 10;
/// Chunks that wait for the client.
const WAITING: usize = 2;

/// Encodes the metrics that were read for one scrape. Runs on a thread where it may wait for the client.
pub type Encoder = Box<dyn FnOnce(Format, &mut dyn fmt::Write) -> fmt::Result + Send>;

/// Reads the metrics for one scrape.
pub type MetricsSource = Box<dyn Fn() -> BoxFuture<'static, Encoder> + Send + Sync>;

struct Scrapes {
    source: MetricsSource,
    reviewer: Option<Reviewer>,
    turns: Mutex<Turns<RequestClient>>,
    /// Wakes the scrapes that wait.
    changed: Notify,
}

/// Routes `/metrics`. Without a reviewer, everyone may read.
pub(super) fn router(source: MetricsSource, reviewer: Option<Reviewer>) -> Router {
    let scrapes = Arc::new(Scrapes {
        source,
        reviewer,
        turns: Mutex::new(Turns::new()),
        changed: Notify::new(),
    });
    Router::new().route(METRICS, get(scrape)).with_state(scrapes)
}

async fn scrape(
    State(scrapes): State<Arc<Scrapes>>,
    Extension(client): Extension<RequestClient>,
    headers: HeaderMap,
) -> Response {
    if let Some(reviewer) = &scrapes.reviewer
        && let Err(refusal) = reviewer.authorize(client.network, &headers).await
    {
        return refusal.into_response();
    }
    let Some(turn) = Turn::wait(&scrapes, client).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many concurrent scrapes\n").into_response();
    };
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    let encoder = (scrapes.source)().await;
    (
        [(CONTENT_TYPE, format.content_type())],
        body(encoder, format, turn),
    )
        .into_response()
}

impl Scrapes {
    fn turns(&self) -> MutexGuard<'_, Turns<RequestClient>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a scrape may run. Returns false if it will not.
    async fn start(&self, ticket: u64, client: &RequestClient) -> bool {
        loop {
            // Created before the check: it also completes for what changes between the check and the wait.
            let changed = self.changed.notified();
            let start = self.turns().start(ticket, client.clone(), Instant::now());
            match start {
                Start::Now => return true,
                Start::Never => return false,
                Start::After(stalled) => (stalled.disconnect)(),
                Start::Later => {}
            }
            // Time alone makes a client one that does not read.
            drop(timeout(TICK, changed).await);
        }
    }
}

/// A scrape that waits.
struct WaitingScrape<'a> {
    scrapes: &'a Scrapes,
    ticket: u64,
}

impl Drop for WaitingScrape<'_> {
    fn drop(&mut self) {
        self.scrapes.turns().leave(self.ticket);
        self.scrapes.changed.notify_waiters();
    }
}

/// A scrape that runs.
struct Turn {
    scrapes: Arc<Scrapes>,
    client: RequestClient,
}

impl Turn {
    /// Waits for it. Returns `None` if others take too long.
    async fn wait(scrapes: &Arc<Scrapes>, client: RequestClient) -> Option<Self> {
        let ticket = scrapes.turns().join(client.network)?;
        let waiting = WaitingScrape { scrapes, ticket };
        let started = timeout(PATIENCE, scrapes.start(ticket, &client)).await;
        drop(waiting);
        let turn = || {
            let scrapes = Arc::clone(scrapes);
            Self { scrapes, client }
        };
        started.unwrap_or(false).then(turn)
    }

    /// Runs what may wait for the client.
    fn paused<R>(&self, wait: impl FnOnce() -> R) -> R {
        let network = self.client.network;
        self.scrapes.turns().pause(network, Instant::now());
        let result = wait();
        self.scrapes.turns().resume(network, Instant::now());
        result
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.scrapes.turns().end(self.client.network);
        self.scrapes.changed.notify_waiters();
    }
}

/// Encodes on a thread that waits while the client does not read, and ends when the client is gone.
fn body(encoder: Encoder, format: Format, turn: Turn) -> Body {
    let (sender, receiver) = mpsc::channel(WAITING);
    spawn_blocking(move || {
        let mut chunks = Chunks {
            turn,
            sender,
            chunk: String::new(),
        };
        // A client that is gone needs no end.
        let _ = match encoder(format, &mut chunks) {
            Ok(()) => chunks.send(),
            // Without this, the part would look like the whole.
            Err(error) => chunks.fail(error),
        };
    });
    Body::from_stream(stream::unfold(receiver, async |mut receiver| {
        let chunk: Result<Bytes, fmt::Error> = receiver.recv().await?;
        Some((chunk, receiver))
    }))
}

/// Sends text in chunks.
struct Chunks {
    turn: Turn,
    sender: mpsc::Sender<Result<Bytes, fmt::Error>>,
    chunk: String,
}

impl Chunks {
    fn send(&mut self) -> fmt::Result {
        let chunk = Bytes::from(std::mem::take(&mut self.chunk));
        let sent = self.turn.paused(|| self.sender.blocking_send(Ok(chunk)));
        sent.map_err(|_| fmt::Error)
    }

    fn fail(&self, error: fmt::Error) -> fmt::Result {
        self.sender.blocking_send(Err(error)).map_err(|_| fmt::Error)
    }
}

impl fmt::Write for Chunks {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.chunk.push_str(text);
        if self.chunk.len() >= CHUNK {
            self.send()
        } else {
            Ok(())
        }
    }
}
