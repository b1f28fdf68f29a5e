mod churn;

use std::{net::Ipv4Addr, time::Duration};

use futures::future::{BoxFuture, join_all};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout},
};

use super::*;
use crate::health::Health;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Far more than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

fn probes(health: &Arc<Health>) -> SocketAddr {
    let probes = Arc::clone(health) as Arc<dyn Probes>;
    start(Some((ANY, probes)), None).unwrap().probes.unwrap()
}

fn health() -> Arc<Health> {
    Arc::new(Health::new(PATIENCE, "pods"))
}

fn metrics(source: MetricsSource) -> SocketAddr {
    let door = MetricsDoor {
        address: ANY,
        access: MetricsAccess::Everyone,
        source,
    };
    start(None, Some(door)).unwrap().metrics.unwrap()
}

/// Writes a line with the format.
fn encoder() -> Encoder {
    Box::new(|format, out| writeln!(out, "{format:?}"))
}

fn simple() -> SocketAddr {
    metrics(Box::new(|| Box::pin(async { encoder() })))
}

/// Sends a request and returns the whole answer.
async fn ask(server: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    answer
}

/// Requests a path as HTTP/1.0, so that the body is not chunked.
async fn get(server: SocketAddr, path: &str) -> String {
    ask(server, &format!("GET {path} HTTP/1.0\r\nHost: node\r\n\r\n")).await
}

async fn connect_to(server: SocketAddr) -> TcpStream {
    TcpStream::connect(server).await.unwrap()
}

/// Returns whether the server has closed a connection.
async fn is_closed(mut stream: TcpStream) -> bool {
    let read = timeout(PATIENCE, stream.read(&mut [0])).await.unwrap();
    read.unwrap_or(0) == 0
}

#[tokio::test]
async fn probes_answer_with_the_reason_in_the_body() {
    let health = health();
    let server = probes(&health);
    assert!(get(server, "/healthz").await.starts_with("HTTP/1.0 200 "));
    let answer = get(server, "/readyz").await;
    assert!(
        answer.starts_with("HTTP/1.0 503 ") && answer.ends_with("\r\n\r\nwaiting for pods\n"),
        "{answer}"
    );
    health.set_ready();
    let answer = get(server, "/readyz").await;
    assert!(
        answer.starts_with("HTTP/1.0 200 ") && answer.ends_with("\r\n\r\nok\n"),
        "{answer}"
    );
    assert!(get(server, "/metrics").await.starts_with("HTTP/1.0 404 "));
}

#[tokio::test]
async fn the_client_selects_the_format_of_metrics() {
    let server = simple();
    let answer = get(server, "/metrics").await;
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\nClassic\n"), "{answer}");
    let accept = "Accept: application/openmetrics-text;version=1.0.0";
    let answer = ask(
        server,
        &format!("GET /metrics HTTP/1.0\r\nHost: node\r\n{accept}\r\n\r\n"),
    )
    .await;
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(
        answer.contains(kind) && answer.ends_with("\r\n\r\nOpenMetrics\n"),
        "{answer}"
    );
    assert!(get(server, "/healthz").await.starts_with("HTTP/1.0 404 "));
}

#[tokio::test]
async fn a_connection_carries_one_request() {
    let answer = ask(
        probes(&health()),
        &"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n".repeat(2),
    )
    .await;
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 1, "{answer}");
}

#[tokio::test]
async fn unknown_paths_are_not_found_and_only_get_and_head_are_allowed() {
    let (metrics, probes) = (simple(), probes(&health()));
    assert!(get(metrics, "/").await.starts_with("HTTP/1.0 404 "));
    for (server, path) in [(metrics, "/metrics"), (probes, "/healthz")] {
        let post = format!("POST {path} HTTP/1.1\r\nHost: node\r\nContent-Length: 0\r\n\r\n");
        assert!(ask(server, &post).await.starts_with("HTTP/1.1 405 "));
        let head = ask(server, &format!("HEAD {path} HTTP/1.1\r\nHost: node\r\n\r\n")).await;
        assert!(
            head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
            "{head}"
        );
    }
}

#[tokio::test]
async fn concurrent_scrapes_of_one_client_wait_for_each_other() {
    let (release, held) = watch::channel(false);
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let server = metrics(Box::new(move || -> BoxFuture<'static, Encoder> {
        let mut held = held.clone();
        started.send(()).unwrap();
        Box::pin(async move {
            held.wait_for(|released| *released).await.unwrap();
            encoder()
        })
    }));
    let scrapes = [(); 3].map(|()| tokio::spawn(get(server, "/metrics")));
    starts.recv().await.unwrap();
    // The others wait for their turn.
    assert!(timeout(Duration::from_millis(200), starts.recv()).await.is_err());
    release.send(true).unwrap();
    for answer in join_all(scrapes).await {
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    }
}

#[tokio::test]
async fn a_scrape_that_gets_no_turn_in_time_is_refused() {
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let server = metrics(Box::new(move || {
        started.send(()).unwrap();
        Box::pin(futures::future::pending())
    }));
    let hanging = tokio::spawn(get(server, "/metrics"));
    starts.recv().await.unwrap();
    let answer = get(server, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
    hanging.abort();
}

/// Large metrics, and how many bytes of them were encoded.
fn large(bytes: usize, progress: &watch::Sender<usize>) -> MetricsSource {
    let progress = progress.clone();
    Box::new(move || {
        let progress = progress.clone();
        let encoder: Encoder = Box::new(move |_, out| {
            let line = "x".repeat(1023) + "\n";
            for written in (1024..=bytes).step_by(1024) {
                out.write_str(&line)?;
                progress.send_replace(written);
            }
            Ok(())
        });
        Box::pin(async { encoder })
    })
}

#[tokio::test]
async fn metrics_are_encoded_while_the_client_reads_them() {
    const BYTES: usize = 64 << 20;
    let (sender, mut progress) = watch::channel(0);
    let server = metrics(large(BYTES, &sender));
    let mut stream = connect_to(server).await;
    let request = b"GET /metrics HTTP/1.0\r\nHost: node\r\n\r\n";
    stream.write_all(request).await.unwrap();
    // Encoding stops when what the sockets hold is full.
    progress.wait_for(|bytes| *bytes > 0).await.unwrap();
    while timeout(Duration::from_millis(300), progress.changed())
        .await
        .is_ok()
    {}
    let ahead = *progress.borrow();
    assert!(ahead < BYTES / 2, "{ahead} bytes");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() > BYTES, "{} bytes", answer.len());
}

#[tokio::test]
async fn silent_clients_are_disconnected_and_do_not_delay_others() {
    let server = probes(&health());
    let started = Instant::now();
    let silent: Vec<TcpStream> = join_all((0..400).map(|_| connect_to(server))).await;
    for _ in 0..8 {
        assert!(get(server, "/healthz").await.starts_with("HTTP/1.0 200 "));
    }
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    for stream in silent {
        assert!(is_closed(stream).await);
    }
}

#[tokio::test]
async fn a_client_that_sends_its_request_slowly_is_disconnected() {
    let server = simple();
    let mut slow = connect_to(server).await;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").await.unwrap();
    let started = Instant::now();
    assert!(is_closed(slow).await);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_port_in_use_is_named_with_a_remedy() {
    let taken = probes(&health());
    let result = start(Some((taken, health() as Arc<dyn Probes>)), None);
    let text = crate::error_chain(&result.unwrap_err());
    assert!(
        text.contains(&taken.to_string()) && text.contains("--health-probe-bind-address"),
        "{text}"
    );
}
