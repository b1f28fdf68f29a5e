//! HTTP for probes and Prometheus. The server and the reconcile loop never wait for each other.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use xdp_client::{
    health::Probes,
    serve::{
        AccessError, Encoder, ListenArgs, MetricsDoor, MetricsSource, ServedAddresses, {self},
    },
};

mod health;
mod scrape;
#[cfg(test)]
mod tests;

pub use health::AgentHealth;
use scrape::Scrape;

use crate::report::metrics::{AgentMetrics, KernelMetrics, RuleLimits};

/// HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A port is in use, or this machine does not have the address.
    #[error("{0} (chart values `agent.port` and `agent.probePort`)")]
    Listen(#[source] serve::ServerError),
    /// Nothing can decide who may read the metrics.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// All other errors.
    #[error(transparent)]
    Other(serve::ServerError),
}

impl From<serve::ServerError> for ServeError {
    fn from(error: serve::ServerError) -> Self {
        if matches!(error, serve::ServerError::Listen { .. }) {
            Self::Listen(error)
        } else {
            Self::Other(error)
        }
    }
}

/// Serves probes and metrics of an agent that uses a pin directory, and returns the addresses. Call it after
/// signals are blocked: the thread must not receive them.
pub fn start(
    listen: &ListenArgs,
    has_api_server: bool,
    (pin_dir, limits): (PathBuf, RuleLimits),
    health: Arc<AgentHealth>,
    metrics: Arc<AgentMetrics>,
) -> Result<ServedAddresses, ServeError> {
    let door = listen.metrics(has_api_server)?;
    let door = door.map(|(address, access)| MetricsDoor {
        address,
        access,
        source: Scrape::new(move || KernelMetrics::read(&pin_dir, limits), metrics).into_source(),
    });
    let probes = listen.health_probe_bind_address;
    let probes = probes.map(|address| (address, health as Arc<dyn Probes>));
    Ok(serve::start(probes, door)?)
}

/// Serves probes only.
pub(crate) fn probes(listen: SocketAddr, probes: Arc<dyn Probes>) -> Result<(), ServeError> {
    serve::start(Some((listen, probes)), None)?;
    Ok(())
}

impl Scrape {
    fn into_source(self) -> MetricsSource {
        let scrape = Arc::new(self);
        Box::new(move || {
            let scrape = Arc::clone(&scrape);
            Box::pin(async move {
                let registry = scrape.registry().await;
                let encoder: Encoder =
                    Box::new(move |format, out| xdp_client::metrics::encode(&registry, format, out));
                encoder
            })
        })
    }
}
