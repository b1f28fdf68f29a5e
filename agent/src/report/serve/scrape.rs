//! One scrape: reads the kernel, and adds what the reconcile loop has counted.

use std::{sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use tokio::{
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
    time::timeout,
};
use tracing::warn;
use xdp_client::error_chain;

use crate::report::{
    metrics::{AgentMetrics, KernelMetrics, registry},
    status::StatusError,
};

/// Prometheus gives up after ten seconds by default. The answer leaves before, with what is known by then.
const PATIENCE: Duration = Duration::from_secs(5);

type Collect = dyn Fn() -> Result<KernelMetrics, StatusError> + Send + Sync;

/// The kernel could not be read for a scrape.
#[derive(Debug, thiserror::Error)]
enum ScrapeError {
    /// Reading failed.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// Reading took too long, or an earlier scrape still reads.
    #[error("the kernel was not read within {} seconds", PATIENCE.as_secs())]
    Slow,
    /// The reader panicked.
    #[error("the reader ended unexpectedly")]
    Ended(#[from] JoinError),
}

/// Answers scrapes.
pub(super) struct Scrape {
    collect: Arc<Collect>,
    metrics: Arc<AgentMetrics>,
    reader: Arc<Semaphore>,
    patience: Duration,
}

impl Scrape {
    pub(super) fn new(
        collect: impl Fn() -> Result<KernelMetrics, StatusError> + Send + Sync + 'static,
        metrics: Arc<AgentMetrics>,
    ) -> Self {
        Self {
            collect: Arc::new(collect),
            metrics,
            reader: Arc::new(Semaphore::new(1)),
            patience: PATIENCE,
        }
    }

    #[cfg(test)]
    pub(super) fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Returns the metrics. Leaves out the metrics of the kernel, and counts an error, if it cannot be read
    /// in time.
    pub(super) async fn registry(&self) -> Registry {
        let read = timeout(self.patience, self.read()).await;
        let kernel = match read.unwrap_or(Err(ScrapeError::Slow)) {
            Ok(kernel) => Some(kernel),
            Err(error) => {
                warn!(
                    error = error_chain(&error),
                    "scrape without the metrics of the kernel"
                );
                self.metrics.scrape_failed();
                None
            }
        };
        registry(&self.metrics, kernel)
    }

    /// The permit moves into the blocking reader: while a reader hangs, no second one starts.
    async fn read(&self) -> Result<KernelMetrics, ScrapeError> {
        let permit = Arc::clone(&self.reader).acquire_owned().await;
        let collect = Arc::clone(&self.collect);
        let reader = spawn_blocking(move || {
            let _permit = permit;
            collect()
        });
        Ok(reader.await??)
    }
}
