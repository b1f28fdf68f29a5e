//! HTTP for probes and Prometheus: `/healthz`, `/readyz` and `/metrics`.
//!
//! Everything is bounded: connections, the time for a request and for an answer, and concurrent scrapes.

mod listener;
#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ACCEPT, CONNECTION, CONTENT_TYPE},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::future::BoxFuture;
pub use listener::CONNECTIONS;
use listener::{BoundedListener, Requested};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{health::Probes, metrics::Format};

/// Concurrent scrapes. A cluster has one Prometheus, or two.
const SCRAPES: usize = 4;

/// Encodes the metrics for one scrape.
pub type MetricsSource = Box<dyn Fn(Format) -> BoxFuture<'static, String> + Send + Sync>;

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}`; free the port, or choose another with --listen")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// A server that listens, and answers when it runs.
#[derive(Debug)]
pub struct Server {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on an address.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let bind = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bind().map_err(|source| ListenError { address, source })
    }

    /// Returns the address on which the server listens. It has a port also if port 0 was requested.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests. Returns only if that fails. Without metrics, `/metrics` is not found.
    pub async fn run(self, probes: Arc<dyn Probes>, metrics: Option<MetricsSource>) -> io::Result<()> {
        let listener = BoundedListener::new(TcpListener::from_std(self.listener)?);
        let service = router(probes, metrics).into_make_service_with_connect_info::<Requested>();
        axum::serve(listener, service).await
    }
}

struct Scrapes {
    metrics: MetricsSource,
    places: Semaphore,
}

fn router(probes: Arc<dyn Probes>, metrics: Option<MetricsSource>) -> Router {
    let live = async |State(probes): State<Arc<dyn Probes>>| probe(probes.live());
    let ready = async |State(probes): State<Arc<dyn Probes>>| probe(probes.ready());
    let mut router = Router::new()
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .with_state(probes);
    if let Some(metrics) = metrics {
        let places = Semaphore::new(SCRAPES);
        let scrapes = Arc::new(Scrapes { metrics, places });
        router = router.merge(Router::new().route("/metrics", get(scrape)).with_state(scrapes));
    }
    router
        .fallback(async || (StatusCode::NOT_FOUND, "not found\n"))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"))
        .layer(middleware::from_fn(one_request))
}

/// Marks the connection as used, and closes it after the answer.
async fn one_request(
    ConnectInfo(requested): ConnectInfo<Requested>,
    request: Request,
    next: Next,
) -> Response {
    requested.set();
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn probe(result: Result<(), String>) -> impl IntoResponse {
    match result {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason + "\n"),
    }
}

async fn scrape(State(scrapes): State<Arc<Scrapes>>, headers: HeaderMap) -> Response {
    let Ok(_place) = scrapes.places.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many concurrent scrapes\n").into_response();
    };
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    let text = (scrapes.metrics)(format).await;
    ([(CONTENT_TYPE, format.content_type())], text).into_response()
}
