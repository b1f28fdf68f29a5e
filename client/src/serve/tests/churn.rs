//! Clients that connect again whenever they are disconnected, as fast as they can.

use std::{
    io::{ErrorKind, Read as _},
    net::TcpStream as StdStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread::JoinHandle,
};

use tokio::time::sleep;

use super::*;
use crate::serve::{listener::BoundedListener, server::listen};

/// The limit for one connection.
const CONNECT: Duration = Duration::from_secs(1);

/// Threads that hold idle connections. Dropping it ends them.
struct Churn {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Churn {
    /// Starts threads with `each` connections each. Returns when more were opened than there are places.
    fn start(server: SocketAddr, places: usize, threads: usize, each: usize) -> Self {
        let (stop, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let spawn = || {
            let (stop, opened) = (Arc::clone(&stop), Arc::clone(&opened));
            thread::spawn(move || hold(server, each, &stop, &opened))
        };
        let threads = (0..threads).map(|_| spawn()).collect();
        let started = Instant::now();
        while opened.load(Ordering::Relaxed) <= places && started.elapsed() < PATIENCE {
            thread::yield_now();
        }
        Self { stop, threads }
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn hold(server: SocketAddr, count: usize, stop: &AtomicBool, opened: &AtomicUsize) {
    let mut held: Vec<Option<StdStream>> = (0..count).map(|_| None).collect();
    for slot in (0..count).cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if held[slot].as_mut().is_none_or(|stream| !is_open(stream)) {
            held[slot] = StdStream::connect_timeout(&server, CONNECT).ok();
            if let Some(stream) = &held[slot] {
                stream.set_nonblocking(true).unwrap();
                opened.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn is_open(stream: &mut StdStream) -> bool {
    let read = stream.read(&mut [0]);
    read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Asks for a probe with a pause between connection and request. Returns the answer, or an error as text.
async fn ask_after(server: SocketAddr, pause: Duration) -> String {
    let ask = async {
        let mut stream = TcpStream::connect(server).await?;
        sleep(pause).await;
        stream
            .write_all(b"GET /healthz HTTP/1.0\r\nHost: node\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let answer = timeout(PATIENCE, ask).await;
    answer.map_or_else(
        |late| late.to_string(),
        |answer| answer.unwrap_or_else(|e| e.to_string()),
    )
}

/// Asks while others connect, with several pauses between connection and request.
async fn all_are_answered(server: SocketAddr) {
    for pause in [0, 1, 5, 20, 50].repeat(2) {
        let answer = ask_after(server, Duration::from_millis(pause)).await;
        assert!(answer.starts_with("HTTP/1.0 200 "), "{pause} ms: {answer}");
    }
}

#[tokio::test]
async fn probes_answer_while_thousands_of_connections_come_and_go() {
    let server = probes(&health());
    let churn = Churn::start(server, PROBE_CONNECTIONS.0, 4, 500);
    all_are_answered(server).await;
    drop(churn);
}

/// So few places that all are taken within a millisecond.
#[tokio::test]
async fn a_connection_keeps_its_place_until_its_request_comes_however_fast_others_connect() {
    let listener = listen(ANY).unwrap();
    let server = listener.local_addr().unwrap();
    let places = PlaceLimits {
        total: 16,
        per_network: 16,
    };
    let limits = ListenerLimits {
        places,
        longest_head: PROBE_HEAD,
    };
    let router = probe_router(health());
    let serving = tokio::spawn(BoundedListener::new(listener, limits, None, router).run());
    let churn = tokio::task::spawn_blocking(move || Churn::start(server, places.total, 4, 8));
    let churn = churn.await.unwrap();
    all_are_answered(server).await;
    serving.abort();
    drop(churn);
}

#[tokio::test]
async fn probes_wait_for_a_place_while_all_are_taken() {
    let server = probes(&health());
    // Fewer clients than places: none is disconnected before its time.
    let idle: Vec<TcpStream> = join_all((0..PROBE_CONNECTIONS.0).map(|_| connect_to(server))).await;
    let started = Instant::now();
    let answer = ask_after(server, Duration::ZERO).await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    // The connections would end by themselves after five seconds.
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    drop(idle);
}
