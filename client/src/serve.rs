//! HTTP for probes and Prometheus: `/healthz` and `/readyz` on one address, `/metrics` on another.
//!
//! ```text
//! kubelet    ─▶ probes:  places of its own, plain
//! Prometheus ─▶ metrics: places ─▶ TLS ─▶ TokenReview, SubjectAccessReview ─▶ turn ─▶ encoded in chunks
//! ```
//!
//! All of it is bounded: connections in all and by client, the time for a request and for an answer, scrapes
//! and their memory, and requests to the API server. It runs on a thread of its own, so that neither
//! the server nor the reconcile loop waits for the other.

mod access;
mod certificate;
mod fair;
mod listen;
mod listener;
mod places;
mod scrape;
mod server;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
};

use access::Reviewer;
use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use certificate::Certificate;
pub use certificate::CertificateError;
pub use listen::{AccessError, ListenArgs, MetricsAccess};
use listener::ListenerLimits;
use places::PlaceLimits;
pub use scrape::{Encoder, MetricsSource};
use server::Server;
use tokio::runtime;
use tokio_rustls::TlsAcceptor;

use crate::{ConnectError, connect, health::Probes};

/// Concurrent connections for probes, in all and from one client (IPv6: from one /64). On a loopback address,
/// all clients are one, which may have all.
pub const PROBE_CONNECTIONS: (usize, usize) = (512, 256);
/// Concurrent connections for metrics, in all and from one client (IPv6: from one /64).
pub const METRICS_CONNECTIONS: (usize, usize) = (256, 64);
/// The longest head of a probe. Those of the kubelet have some hundred bytes.
const PROBE_HEAD: usize = 8 << 10;
/// The longest head of a scrape. Tokens of identity providers may have some kilobytes.
const METRICS_HEAD: usize = 32 << 10;
/// The kernel is read by one thread, each scrape is encoded by one, and one resolves the API server's name.
const THREADS: usize = scrape::SCRAPES + 2;

/// HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The port is in use, or this machine does not have the address.
    #[error("cannot listen on `{address}` for {what}; free the port, or choose another with {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What is served there.
        what: &'static str,
        /// The flag that sets the address.
        flag: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The API server that would review tokens is unknown.
    #[error("the readers of the metrics cannot be reviewed")]
    Reviews(#[source] ConnectError),
    /// The thread or its runtime cannot be started.
    #[error("cannot start the thread that serves HTTP; raise the limit of threads (pids)")]
    Thread(#[source] io::Error),
}

/// The metrics to serve.
pub struct MetricsDoor {
    /// Where.
    pub address: SocketAddr,
    /// Which clients may read them.
    pub access: MetricsAccess,
    /// What.
    pub source: MetricsSource,
}

/// The addresses that are served. They have ports also if port 0 was requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServedAddresses {
    /// `/healthz` and `/readyz`.
    pub probes: Option<SocketAddr>,
    /// `/metrics`.
    pub metrics: Option<SocketAddr>,
}

/// The probes to serve: where, and what.
pub type ProbesDoor = (SocketAddr, Arc<dyn Probes>);

/// Serves probes and metrics on a thread of its own. Listens before it returns, so that an invalid address is
/// an error of the caller. The thread inherits the blocked signals.
pub fn start(
    probes: Option<ProbesDoor>,
    metrics: Option<MetricsDoor>,
) -> Result<ServedAddresses, ServerError> {
    server::raise_descriptor_limit();
    let (sender, started) = mpsc::channel();
    thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || serve(probes, metrics, &sender))
        .map_err(ServerError::Thread)?;
    let ended = || ServerError::Thread(io::Error::other("the thread ended"));
    started.recv().map_err(|_| ended())?
}

/// Reports once whether it serves, and where. The caller waits for the report.
fn serve(
    probes: Option<ProbesDoor>,
    metrics: Option<MetricsDoor>,
    started: &mpsc::Sender<Result<ServedAddresses, ServerError>>,
) {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .build();
    let run = async {
        let (probes, metrics) = servers(probes, metrics).await?;
        let addresses = ServedAddresses {
            probes: probes.as_ref().map(|server| server.address),
            metrics: metrics.as_ref().map(|server| server.address),
        };
        let _ = started.send(Ok(addresses));
        tokio::join!(server::run(probes), server::run(metrics));
        Ok(())
    };
    let result = runtime
        .map_err(ServerError::Thread)
        .and_then(|runtime| runtime.block_on(run));
    if let Err(error) = result {
        let _ = started.send(Err(error));
    }
}

async fn servers(
    probes: Option<ProbesDoor>,
    metrics: Option<MetricsDoor>,
) -> Result<(Option<Server>, Option<Server>), ServerError> {
    let probes = probes.map(probe_server).transpose()?;
    let metrics = match metrics {
        Some(door) => Some(metrics_server(door).await?),
        None => None,
    };
    Ok((probes, metrics))
}

fn probe_server((address, probes): ProbesDoor) -> Result<Server, ServerError> {
    let (total, for_others) = PROBE_CONNECTIONS;
    let is_loopback = address.ip().to_canonical().is_loopback();
    let per_network = if is_loopback { total } else { for_others };
    let limits = ListenerLimits {
        places: PlaceLimits { total, per_network },
        longest_head: PROBE_HEAD,
    };
    Server::bind(address, "probes", limits, probe_router(probes))
}

async fn metrics_server(door: MetricsDoor) -> Result<Server, ServerError> {
    let (total, per_network) = METRICS_CONNECTIONS;
    let limits = ListenerLimits {
        places: PlaceLimits { total, per_network },
        longest_head: METRICS_HEAD,
    };
    let (reviewer, tls) = match door.access {
        MetricsAccess::Everyone => (None, None),
        MetricsAccess::Reviewed { certificates } => {
            let client = connect().await.map_err(ServerError::Reviews)?;
            (Some(Reviewer::new(client)), Some(tls(certificates)?))
        }
    };
    let router = answering_all(scrape::router(door.source, reviewer));
    let mut server = Server::bind(door.address, "metrics", limits, router)?;
    server.tls = tls;
    Ok(server)
}

fn tls(certificates: Option<PathBuf>) -> Result<(Arc<Certificate>, TlsAcceptor), CertificateError> {
    let certificate = Arc::new(Certificate::new(certificates)?);
    let acceptor = certificate.acceptor()?;
    Ok((certificate, acceptor))
}

fn probe_router(probes: Arc<dyn Probes>) -> Router {
    let live = async |State(probes): State<Arc<dyn Probes>>| probe(probes.live());
    let ready = async |State(probes): State<Arc<dyn Probes>>| probe(probes.ready());
    let router = Router::new()
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .with_state(probes);
    answering_all(router)
}

fn answering_all(router: Router) -> Router {
    router
        .fallback(async || (StatusCode::NOT_FOUND, "not found\n"))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"))
}

fn probe(result: Result<(), String>) -> impl IntoResponse {
    match result {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason + "\n"),
    }
}
