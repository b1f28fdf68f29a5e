//! Accepts connections within bounds, and answers one request on each.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::yield_now,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::serve::places::{Network, PlaceLimits, Places};

/// A client that has not sent its request by then is disconnected.
const REQUEST: Duration = Duration::from_secs(5);
/// A client that has not read the answer by then is disconnected. Prometheus waits for ten seconds by
/// default.
const ANSWER: Duration = Duration::from_secs(15);
/// Pause after a connection could not be accepted: without file descriptors, the next attempt would fail at
/// once.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest head of a request. Tokens of identity providers may have some kilobytes.
const LONGEST_HEAD: usize = 32 << 10;

/// Dropping it ends the connection.
type Displace = oneshot::Sender<()>;

/// A listener with places of its own.
pub(super) struct BoundedListener {
    listener: TcpListener,
    places: Arc<Mutex<Places<Displace>>>,
    tls: Option<TlsAcceptor>,
    router: Router,
}

impl BoundedListener {
    pub(super) fn new(
        listener: TcpListener,
        limits: PlaceLimits,
        tls: Option<TlsAcceptor>,
        router: Router,
    ) -> Self {
        let places = Arc::new(Mutex::new(Places::new(limits)));
        Self {
            listener,
            places,
            tls,
            router,
        }
    }

    /// Accepts connections. Never returns.
    pub(super) async fn run(self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, client)) => self.admit(stream, client),
                Err(error) => {
                    debug!(%error, "cannot accept a connection");
                    sleep(PAUSE).await;
                }
            }
            // The new connection reads its request before others can displace it.
            yield_now().await;
        }
    }

    fn admit(&self, stream: TcpStream, client: SocketAddr) {
        let network = Network::from(client.ip());
        let (displace, displaced) = oneshot::channel();
        let Some(number) = lock(&self.places).admit(network, displace) else {
            return;
        };
        let place = Arc::new(Place {
            number,
            places: Arc::clone(&self.places),
        });
        let (tls, router) = (self.tls.clone(), self.router.clone());
        tokio::spawn(async move {
            let late = late(&place);
            tokio::select! {
                result = answer(stream, client.ip(), tls, Arc::clone(&place), router) => {
                    if let Err(error) = result {
                        debug!(%client, %error, "a connection failed");
                    }
                }
                () = late => {}
                _ = displaced => {}
            }
        });
    }
}

/// The place of one connection.
struct Place {
    number: u64,
    places: Arc<Mutex<Places<Displace>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places).release(self.number);
    }
}

fn lock(places: &Mutex<Places<Displace>>) -> MutexGuard<'_, Places<Displace>> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the time of a connection is over.
async fn late(place: &Place) {
    sleep(REQUEST).await;
    if lock(&place.places).is_busy(place.number) {
        sleep(ANSWER.saturating_sub(REQUEST)).await;
    }
}

async fn answer(
    stream: TcpStream,
    client: IpAddr,
    tls: Option<TlsAcceptor>,
    place: Arc<Place>,
    router: Router,
) -> io::Result<()> {
    match tls {
        Some(tls) => answer_one(tls.accept(stream).await?, client, place, router).await,
        None => answer_one(stream, client, place, router).await,
    }
}

async fn answer_one(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    client: IpAddr,
    place: Arc<Place>,
    router: Router,
) -> io::Result<()> {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        lock(&place.places).set_busy(place.number);
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(Network::from(client));
        hyper::service::Service::call(&router, request)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(LONGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}
