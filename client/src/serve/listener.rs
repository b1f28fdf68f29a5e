//! Accepts connections within bounds, and answers one request on each.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
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
    sync::{Notify, oneshot},
    task::yield_now,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::serve::places::{Network, PlaceLimits, Places, Room};

/// A client that has not sent its request by then is disconnected.
const REQUEST: Duration = Duration::from_secs(5);
/// A client that has not read the answer by then is disconnected. Prometheus waits for ten seconds by
/// default.
const ANSWER: Duration = Duration::from_secs(15);
/// Pause after a connection could not be accepted: without file descriptors, the next attempt would fail at
/// once.
const PAUSE: Duration = Duration::from_millis(100);
/// What a listener holds at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenerLimits {
    pub(super) places: PlaceLimits,
    /// Bytes of a request's head, at least 8 KiB.
    pub(super) longest_head: usize,
}

/// Dropping it ends the connection.
type Displace = oneshot::Sender<()>;

/// A listener with places of its own.
pub(super) struct BoundedListener {
    listener: TcpListener,
    places: Arc<SharedPlaces>,
    longest_head: usize,
    tls: Option<TlsAcceptor>,
    router: Router,
}

impl BoundedListener {
    pub(super) fn new(
        listener: TcpListener,
        limits: ListenerLimits,
        tls: Option<TlsAcceptor>,
        router: Router,
    ) -> Self {
        Self {
            listener,
            places: Arc::new(SharedPlaces {
                places: Mutex::new(Places::new(limits.places)),
                released: Notify::new(),
            }),
            longest_head: limits.longest_head,
            tls,
            router,
        }
    }

    /// Accepts connections. Never returns.
    pub(super) async fn run(self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, client)) => {
                    let network = Network::from(client.ip());
                    if self.places.make_room(network).await {
                        self.admit(stream, client, network);
                    }
                }
                Err(error) => {
                    debug!(%error, "cannot accept a connection");
                    sleep(PAUSE).await;
                }
            }
            // The new connection reads its request before others can displace it.
            yield_now().await;
        }
    }

    fn admit(&self, stream: TcpStream, client: SocketAddr, network: Network) {
        let (displace, displaced) = oneshot::channel();
        let place = Arc::new(Place {
            number: self.places.lock().hold(network, displace, Instant::now()),
            places: Arc::clone(&self.places),
        });
        let (tls, router, longest_head) = (self.tls.clone(), self.router.clone(), self.longest_head);
        tokio::spawn(async move {
            let late = late(&place);
            let answered = async {
                // A connection that sends nothing costs no more than its descriptor and this task. Tokio
                // takes a new connection for readable until a read has failed, so only a read
                // waits for data.
                stream.peek(&mut [0]).await?;
                let connection = Connection {
                    network,
                    place: Arc::clone(&place),
                    router,
                    longest_head,
                };
                Box::pin(connection.answer(stream, tls)).await
            };
            tokio::select! {
                result = answered => {
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

struct SharedPlaces {
    places: Mutex<Places<Displace>>,
    /// Wakes the listener when it waits for a place.
    released: Notify,
}

impl SharedPlaces {
    fn lock(&self) -> MutexGuard<'_, Places<Displace>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, number: u64) {
        self.lock().release(number);
        self.released.notify_waiters();
    }

    /// Waits until there is a place for a new connection. Returns false if it must be closed.
    async fn make_room(&self, network: Network) -> bool {
        loop {
            // Created before the check: it also completes for what is released between the check and the
            // wait.
            let released = self.released.notified();
            let room = self.lock().make_room(network, Instant::now());
            match room {
                Room::Free => return true,
                Room::Full => return false,
                // The places are asked again in either case.
                Room::After(time) => drop(timeout(time, released).await),
            }
        }
    }
}

/// The place of one connection.
struct Place {
    number: u64,
    places: Arc<SharedPlaces>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.release(self.number);
    }
}

/// Waits until the time of a connection is over.
async fn late(place: &Place) {
    sleep(REQUEST).await;
    let is_busy = place.places.lock().is_busy(place.number);
    if is_busy {
        sleep(ANSWER.saturating_sub(REQUEST)).await;
    }
}

/// The client of a request, which is an extension of the request.
#[derive(Clone)]
pub(super) struct RequestClient {
    pub(super) network: Network,
    /// Ends its connection.
    pub(super) disconnect: Arc<dyn Fn() + Send + Sync>,
}

/// A connection that has sent something.
struct Connection {
    network: Network,
    place: Arc<Place>,
    router: Router,
    longest_head: usize,
}

impl Connection {
    fn client(&self) -> RequestClient {
        let (number, places) = (self.place.number, Arc::clone(&self.place.places));
        RequestClient {
            network: self.network,
            disconnect: Arc::new(move || places.release(number)),
        }
    }

    async fn answer(self, stream: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<()> {
        match tls {
            Some(tls) => self.answer_one(tls.accept(stream).await?).await,
            None => self.answer_one(stream).await,
        }
    }

    async fn answer_one(self, stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let router = TowerToHyperService::new(self.router.clone());
        let longest_head = self.longest_head;
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            self.place.places.lock().set_busy(self.place.number);
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(self.client());
            hyper::service::Service::call(&router, request)
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST)
            .max_buf_size(longest_head)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .await
            .map_err(io::Error::other)
    }
}
