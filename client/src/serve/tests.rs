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

fn start(health: Arc<Health>, metrics: Option<MetricsSource>) -> SocketAddr {
    let server = Server::bind(ANY).unwrap();
    let address = server.address();
    tokio::spawn(server.run(health, metrics));
    address
}

fn health() -> Arc<Health> {
    Arc::new(Health::new(PATIENCE, "pods"))
}

fn metrics() -> MetricsSource {
    Box::new(|format| Box::pin(async move { format!("{format:?}\n") }))
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

async fn get(server: SocketAddr, path: &str) -> String {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n")).await
}

#[tokio::test]
async fn probes_answer_with_the_reason_in_the_body() {
    let health = health();
    let server = start(Arc::clone(&health), None);
    assert!(get(server, "/healthz").await.starts_with("HTTP/1.1 200 "));
    let answer = get(server, "/readyz").await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\nwaiting for pods\n"),
        "{answer}"
    );
    health.set_ready();
    let answer = get(server, "/readyz").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok\n"),
        "{answer}"
    );
    assert!(get(server, "/metrics").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn the_client_selects_the_format_of_metrics() {
    let server = start(health(), Some(metrics()));
    let answer = get(server, "/metrics").await;
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\nClassic\n"), "{answer}");
    let accept = "Accept: application/openmetrics-text;version=1.0.0";
    let answer = ask(
        server,
        &format!("GET /metrics HTTP/1.1\r\nHost: node\r\n{accept}\r\n\r\n"),
    )
    .await;
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(
        answer.contains(kind) && answer.ends_with("\r\n\r\nOpenMetrics\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn unknown_paths_are_not_found_and_only_get_and_head_are_allowed() {
    let server = start(health(), Some(metrics()));
    assert!(get(server, "/").await.starts_with("HTTP/1.1 404 "));
    let post = "POST /metrics HTTP/1.1\r\nHost: node\r\nContent-Length: 0\r\n\r\n";
    assert!(ask(server, post).await.starts_with("HTTP/1.1 405 "));
    let head = ask(server, "HEAD /healthz HTTP/1.1\r\nHost: node\r\n\r\n").await;
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_fifth_concurrent_scrape_is_refused() {
    let (release, held) = watch::channel(false);
    let metrics: MetricsSource = Box::new(move |_| -> BoxFuture<'static, String> {
        let mut held = held.clone();
        Box::pin(async move {
            held.wait_for(|released| *released).await.unwrap();
            "done\n".to_owned()
        })
    });
    let server = start(health(), Some(metrics));
    let (sender, mut answers) = tokio::sync::mpsc::channel(6);
    let scrapes: Vec<_> = (0..6)
        .map(|_| {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(get(server, "/metrics").await).await.unwrap() })
        })
        .collect();
    for _ in 0..2 {
        let answer = answers.recv().await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    release.send(true).unwrap();
    for _ in 0..4 {
        let answer = answers.recv().await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    join_all(scrapes).await;
}

#[tokio::test]
async fn silent_clients_delay_the_next_one_only_until_they_are_disconnected() {
    let server = start(health(), None);
    let connect = || async { TcpStream::connect(server).await.unwrap() };
    let silent: Vec<TcpStream> = join_all((1..CONNECTIONS).map(|_| connect())).await;
    let started = Instant::now();
    assert!(get(server, "/healthz").await.starts_with("HTTP/1.1 200 "));
    let mut last = connect().await;
    assert!(get(server, "/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(
        started.elapsed() < Duration::from_secs(25),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(last.read(&mut [0]).await.unwrap_or(0), 0, "disconnected");
    drop(silent);
}

#[tokio::test]
async fn a_port_in_use_is_named_with_a_remedy() {
    let taken = Server::bind(ANY).unwrap();
    let error = Server::bind(taken.address()).unwrap_err();
    let text = crate::error_chain(&error);
    assert!(
        text.contains(&taken.address().to_string()) && text.contains("--listen"),
        "{text}"
    );
}
