//! Connections and answers.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tracing::{debug, error};

use crate::report::{
    metrics::Format,
    serve::{Probes, scrape::Scrape},
};

/// Connections at once. Each carries one request.
pub(super) const CONNECTIONS: usize = 64;
/// Who has not asked by then is not heard.
const ASKING: Duration = Duration::from_secs(5);
/// Who has not read the answer by then does not get it.
const WHOLE: Duration = Duration::from_secs(30);
/// Before the next try when a connection could not be accepted: without file descriptors it would fail at once.
const PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";

/// What is served.
pub(super) struct Site {
    pub(super) probes: Arc<dyn Probes>,
    pub(super) scrape: Option<Scrape>,
}

/// Accepts connections for ever.
pub(super) async fn accept(listener: std::net::TcpListener, site: Arc<Site>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(source) => return error!(error = %source, "HTTP is not served"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let site = Arc::clone(&site);
                tokio::spawn(async move {
                    let _place = place;
                    connection(stream, site).await;
                });
            }
            Err(source) => {
                debug!(error = %source, "connection not accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, site: Arc<Site>) {
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(&request).await) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASKING)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Clients that go away in mid-sentence are nobody's problem.
    let _ = timeout(WHOLE, conversation).await;
}

impl Site {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        }
        match (request.uri().path(), &self.scrape) {
            ("/healthz", _) => probe(self.probes.live()),
            ("/readyz", _) => probe(self.probes.ready()),
            ("/metrics", Some(scrape)) => metrics(scrape, request).await,
            _ => plain(StatusCode::NOT_FOUND, "not found"),
        }
    }
}

fn probe(result: Result<(), String>) -> Response<Full<Bytes>> {
    match result {
        Ok(()) => plain(StatusCode::OK, "ok"),
        Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

async fn metrics(scrape: &Scrape, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let accept = request.headers().get(ACCEPT);
    let format = Format::accepted(accept.and_then(|value| value.to_str().ok()).unwrap_or_default());
    match scrape.text(format).await {
        Some(text) => response(StatusCode::OK, format.content_type(), text),
        None => plain(StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at once"),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    response(status, TEXT, format!("{text}\n"))
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
