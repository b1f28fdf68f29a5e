//! HTTP for probes and Prometheus: `/healthz`, `/readyz` and `/metrics`, on a thread of its own.
//!
//! Nothing here is waited for by the loop, and nothing here waits for the loop.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread,
};

use tokio::runtime;

mod health;
mod http;
mod scrape;
#[cfg(test)]
mod tests;

pub use health::Health;
use http::Site;
use scrape::Scrape;

use crate::report::{metrics::AgentMetrics, status};

/// HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port is taken, or the address is not of this machine.
    #[error(
        "cannot listen on `{address}`; free the port, or choose another with --listen (chart value `agent.port`)"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// No thread, or no runtime on it.
    #[error("cannot start the thread that serves HTTP; raise the limit of threads (pids)")]
    Thread(#[source] io::Error),
}

/// What the probes ask. An error is the body of the answer.
pub(crate) trait Probes: Send + Sync + 'static {
    /// Whether the process should go on.
    fn live(&self) -> Result<(), String>;
    /// Whether it has done what it is there for.
    fn ready(&self) -> Result<(), String>;
}

/// A server that runs until the process ends.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
}

impl Server {
    /// Where it listens; names the port if any was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves probes and metrics of an agent that works in `pin_dir`. To be called after signals are blocked: the
/// thread must not take them.
pub fn start(
    listen: SocketAddr,
    pin_dir: PathBuf,
    health: Arc<Health>,
    metrics: Arc<AgentMetrics>,
) -> Result<Server, ServeError> {
    let scrape = Scrape::new(move || status::collect(&pin_dir), metrics);
    serve(
        listen,
        Site {
            probes: health,
            scrape: Some(scrape),
        },
    )
}

/// Serves probes only.
pub(crate) fn probes(listen: SocketAddr, probes: Arc<dyn Probes>) -> Result<Server, ServeError> {
    serve(listen, Site { probes, scrape: None })
}

/// Listens at once, so that what is wrong with the address is known at once.
fn serve(listen: SocketAddr, site: Site) -> Result<Server, ServeError> {
    let failed = |source| ServeError::Listen {
        address: listen,
        source,
    };
    let listener = TcpListener::bind(listen).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        // One scrape at a time reads the kernel.
        .max_blocking_threads(1)
        .build()
        .map_err(ServeError::Thread)?;
    thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || runtime.block_on(http::accept(listener, Arc::new(site))))
        .map_err(ServeError::Thread)?;
    Ok(Server { address })
}
