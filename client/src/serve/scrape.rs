//! Scrapes: few at the same time, and each is sent while it is encoded, so that its memory is bounded.

mod turns;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
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
use turns::Turns;

use crate::{
    metrics::Format,
    serve::{
        access::{METRICS, Reviewer},
        places::Network,
    },
};

/// A scrape waits this long for its turn.
const PATIENCE: Duration = Duration::from_secs(3);
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
    turns: Mutex<Turns>,
    /// Wakes the scrapes that wait.
    ended: Notify,
}

/// Routes `/metrics`. Without a reviewer, everyone may read.
pub(super) fn router(source: MetricsSource, reviewer: Option<Reviewer>) -> Router {
    let scrapes = Arc::new(Scrapes {
        source,
        reviewer,
        turns: Mutex::default(),
        ended: Notify::new(),
    });
    Router::new().route(METRICS, get(scrape)).with_state(scrapes)
}

async fn scrape(
    State(scrapes): State<Arc<Scrapes>>,
    Extension(network): Extension<Network>,
    headers: HeaderMap,
) -> Response {
    if let Some(reviewer) = &scrapes.reviewer
        && let Err(refusal) = reviewer.authorize(network, &headers).await
    {
        return refusal.into_response();
    }
    let Ok(turn) = timeout(PATIENCE, turn(&scrapes, network)).await else {
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

/// A scrape that runs.
struct Turn {
    scrapes: Arc<Scrapes>,
    network: Network,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.scrapes.turns().end(self.network);
        self.scrapes.ended.notify_waiters();
    }
}

impl Scrapes {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a scrape of a network may run.
async fn turn(scrapes: &Arc<Scrapes>, network: Network) -> Turn {
    loop {
        // Created before the check: it also completes for what ends between the check and the wait.
        let ended = scrapes.ended.notified();
        if scrapes.turns().start(network) {
            let scrapes = Arc::clone(scrapes);
            return Turn { scrapes, network };
        }
        ended.await;
    }
}

/// Encodes on a thread that waits while the client does not read, and ends when the client is gone.
fn body(encoder: Encoder, format: Format, turn: Turn) -> Body {
    let (sender, receiver) = mpsc::channel(WAITING);
    spawn_blocking(move || {
        let _turn = turn;
        let mut chunks = Chunks {
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
    sender: mpsc::Sender<Result<Bytes, fmt::Error>>,
    chunk: String,
}

impl Chunks {
    fn send(&mut self) -> fmt::Result {
        let chunk = Bytes::from(std::mem::take(&mut self.chunk));
        self.sender.blocking_send(Ok(chunk)).map_err(|_| fmt::Error)
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
