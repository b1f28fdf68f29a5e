//! One scrape: read the kernel, add what the loop has counted.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
    time::timeout,
};
use tracing::warn;

use crate::report::{
    metrics::{AgentMetrics, Format, encode},
    status::{NodeStatus, StatusError},
};

/// Scrapes that may be under way at once, one of them reading. There is one Prometheus, maybe two.
const MOST: usize = 4;
/// Prometheus gives up after ten seconds by default: what there is, is there before.
const PATIENCE: Duration = Duration::from_secs(5);

type Collect = dyn Fn() -> Result<NodeStatus, StatusError> + Send + Sync;

/// The kernel could not be read for a scrape.
#[derive(Debug, thiserror::Error)]
enum ScrapeError {
    /// It said why.
    #[error(transparent)]
    NodeStatus(#[from] StatusError),
    /// It did not answer, or another scrape still waits for it.
    #[error("the kernel was not read within {} seconds", PATIENCE.as_secs())]
    Slow,
    /// The reader panicked.
    #[error("the reader ended")]
    Ended(#[from] JoinError),
}

/// Answers scrapes.
pub(super) struct Scrape {
    collect: Arc<Collect>,
    metrics: Arc<AgentMetrics>,
    places: Semaphore,
    turn: Arc<Semaphore>,
    patience: Duration,
}

impl Scrape {
    pub(super) fn new(
        collect: impl Fn() -> Result<NodeStatus, StatusError> + Send + Sync + 'static,
        metrics: Arc<AgentMetrics>,
    ) -> Self {
        Self {
            collect: Arc::new(collect),
            metrics,
            places: Semaphore::new(MOST),
            turn: Arc::new(Semaphore::new(1)),
            patience: PATIENCE,
        }
    }

    #[cfg(test)]
    pub(super) fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The metrics; what the kernel does not tell in time is left out and counted. `None`: too many ask at
    /// once.
    pub(super) async fn text(&self, format: Format) -> Option<String> {
        let _place = self.places.try_acquire().ok()?;
        let read = timeout(self.patience, self.read()).await;
        let status = match read.unwrap_or(Err(ScrapeError::Slow)) {
            Ok(status) => Some(status),
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::new(error));
                warn!(error, "a scrape lacks what comes from the kernel");
                self.metrics.scrape_failed();
                None
            }
        };
        Some(encode(&self.metrics, status, format))
    }

    /// The turn goes with the reader: while one hangs, no second one starts.
    async fn read(&self) -> Result<NodeStatus, ScrapeError> {
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let collect = Arc::clone(&self.collect);
        let reader = spawn_blocking(move || {
            let _turn = turn;
            collect()
        });
        Ok(reader.await??)
    }
}
