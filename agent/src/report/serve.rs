//! HTTP for probes and Prometheus, on a thread of its own.
//!
//! The server and the reconcile loop never wait for each other.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, thread};

use tokio::runtime;
use tracing::error;
use xdp_client::{
    health::Probes,
    serve::{ListenError, MetricsSource, Server},
};

mod health;
mod scrape;
#[cfg(test)]
mod tests;

pub use health::AgentHealth;
use scrape::Scrape;

use crate::report::{metrics::AgentMetrics, status};

/// HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port is in use, or this machine does not have the address.
    #[error("{0} (chart value `agent.port`)")]
    Listen(#[source] ListenError),
    /// The thread or its runtime cannot be started.
    #[error("cannot start the thread that serves HTTP; raise the limit of threads (pids)")]
    Thread(#[source] io::Error),
}

/// Serves probes and metrics of an agent that uses `pin_dir`, and returns the address. Call it after signals
/// are blocked: the thread must not receive them.
pub fn start(
    listen: SocketAddr,
    pin_dir: PathBuf,
    health: Arc<AgentHealth>,
    metrics: Arc<AgentMetrics>,
) -> Result<SocketAddr, ServeError> {
    let scrape = Scrape::new(move || status::collect(&pin_dir), metrics);
    serve(listen, health, Some(scrape))
}

/// Serves probes only.
pub(crate) fn probes(listen: SocketAddr, probes: Arc<dyn Probes>) -> Result<SocketAddr, ServeError> {
    serve(listen, probes, None)
}

/// Listens before it returns, so that an invalid address is an error of the caller.
fn serve(
    listen: SocketAddr,
    probes: Arc<dyn Probes>,
    scrape: Option<Scrape>,
) -> Result<SocketAddr, ServeError> {
    let server = Server::bind(listen).map_err(ServeError::Listen)?;
    let address = server.address();
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        // One scrape at a time reads the kernel.
        .max_blocking_threads(1)
        .build()
        .map_err(ServeError::Thread)?;
    let metrics = scrape.map(Scrape::into_source);
    let run = move || {
        let result: Result<(), io::Error> = runtime.block_on(server.run(probes, metrics));
        if let Err(error) = result {
            error!(%error, "the HTTP server failed");
        }
    };
    thread::Builder::new()
        .name("http".to_owned())
        .spawn(run)
        .map_err(ServeError::Thread)?;
    Ok(address)
}

impl Scrape {
    fn into_source(self) -> MetricsSource {
        let scrape = Arc::new(self);
        Box::new(move |format| {
            let scrape = Arc::clone(&scrape);
            Box::pin(async move { scrape.text(format).await })
        })
    }
}
