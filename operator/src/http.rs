//! Probes and metrics.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// A loop that has not come round for so long hangs: no wait in it is longer.
const LIVE: Duration = Duration::from_mins(1);

/// What the probes ask.
#[derive(Debug)]
pub struct Health {
    state: Mutex<Vital>,
}

#[derive(Debug)]
struct Vital {
    beat: Instant,
    /// Lists that have never been complete.
    missing: Vec<&'static str>,
}

impl Default for Health {
    fn default() -> Self {
        let (beat, missing) = (Instant::now(), vec!["everything"]);
        Self {
            state: Mutex::new(Vital { beat, missing }),
        }
    }
}

impl Health {
    /// The loop comes round.
    pub fn beat(&self) {
        self.lock().beat = Instant::now();
    }

    /// Which lists have never been complete.
    pub fn missing(&self, missing: Vec<&'static str>) {
        self.lock().missing = missing;
    }

    fn live(&self, now: Instant) -> Result<(), String> {
        let silent = now.saturating_duration_since(self.lock().beat);
        if silent < LIVE {
            return Ok(());
        }
        Err(format!("the loop has not come round for {} s", silent.as_secs()))
    }

    fn ready(&self) -> Result<(), String> {
        let missing = self.lock().missing.join(", ");
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!("not yet read from the API server: {missing}"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vital> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}`; free the port, or choose another with --listen")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// Takes the port.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| ListenError { address, source })
}

/// Answers for ever.
pub async fn serve(listener: TcpListener, health: Arc<Health>, metrics: Arc<Metrics>) -> io::Result<()> {
    let router = Router::new()
        .route(
            "/healthz",
            get(async |State((health, _)): State<Site>| probe(health.live(Instant::now()))),
        )
        .route(
            "/readyz",
            get(async |State((health, _)): State<Site>| probe(health.ready())),
        )
        .route(
            "/metrics",
            get(async |State((_, metrics)): State<Site>| text(&metrics)),
        )
        .with_state((health, metrics));
    axum::serve(listener, router).await
}

type Site = (Arc<Health>, Arc<Metrics>);

fn probe(result: Result<(), String>) -> impl IntoResponse {
    match result {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason + "\n"),
    }
}

fn text(metrics: &Metrics) -> impl IntoResponse + use<> {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind)], metrics.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_once_every_list_has_been_read() {
        let health = Health::default();
        assert!(health.ready().is_err());
        health.missing(vec!["pods"]);
        assert_eq!(
            health.ready(),
            Err("not yet read from the API server: pods".to_owned())
        );
        health.missing(Vec::new());
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn it_is_live_while_the_loop_comes_round() {
        let health = Health::default();
        health.beat();
        let now = Instant::now();
        assert_eq!(health.live(now), Ok(()));
        assert!(health.live(now + LIVE).is_err());
    }
}
