use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use xdp_client::serve::CONNECTIONS;

use crate::{
    datapath::OpenError,
    report::{
        metrics::AgentMetrics,
        serve::{AgentHealth, ServeError, scrape::Scrape, serve, start},
        status::{AgentStatus, NodeStatus, StatusError},
    },
};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// As in `/metrics` of an empty status.
const FROM_THE_KERNEL: &str = "xdp_agent_pods{";

/// Sends a request and returns all of the answer.
fn ask(server: &SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(*server).unwrap();
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(server: &SocketAddr, path: &str) -> String {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n"))
}

fn empty() -> NodeStatus {
    NodeStatus {
        pin_dir: String::new(),
        agent: AgentStatus { running: true },
        nics: Vec::new(),
        pods: Vec::new(),
        rules: Vec::new(),
        unparsed: std::collections::BTreeMap::new(),
        foreign: std::collections::BTreeMap::new(),
        unparsed_drops: std::collections::BTreeMap::new(),
        fallbacks: std::collections::BTreeMap::new(),
        events: std::collections::BTreeMap::new(),
        flows: Vec::new(),
        flow_events: std::collections::BTreeMap::new(),
        tables: Vec::new(),
        exceptions: Vec::new(),
        problems: Vec::new(),
    }
}

/// A server whose kernel is read by `collect`.
fn reading(collect: impl Fn() -> Result<NodeStatus, StatusError> + Send + Sync + 'static) -> SocketAddr {
    let metrics = Arc::new(AgentMetrics::default());
    let scrape = Scrape::new(collect, metrics).patience(Duration::from_millis(200));
    serve(ANY, Arc::new(AgentHealth::default()), Some(scrape)).unwrap()
}

#[test]
fn the_probes_answer_with_the_reason_in_the_body() {
    let health = Arc::new(AgentHealth::default());
    let nowhere = PathBuf::from("/nonexistent");
    let server = start(
        ANY,
        nowhere,
        Arc::clone(&health),
        Arc::new(AgentMetrics::default()),
    )
    .unwrap();
    let answer = get(&server, "/readyz");
    assert!(
        answer.starts_with("HTTP/1.1 503 ")
            && answer.contains("waiting for the first reconcile with known policies"),
        "{answer}"
    );
    assert!(get(&server, "/healthz").starts_with("HTTP/1.1 200 "));
    health.reconciled(true);
    let answer = get(&server, "/readyz");
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok\n"),
        "{answer}"
    );
}

#[test]
fn without_the_kernel_a_scrape_has_all_other_metrics_and_counts_an_error() {
    let server = reading(|| {
        let path = Path::new("/sys/fs/bpf/x").to_owned();
        Err(StatusError::Tables(OpenError::NotInstalled { path }))
    });
    for errors in 1..3 {
        let answer = get(&server, "/metrics");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            answer.contains(&format!("\nxdp_agent_scrape_errors_total {errors}\n")),
            "{answer}"
        );
        assert!(
            answer.contains("xdp_agent_reconciles_total") && !answer.contains(FROM_THE_KERNEL),
            "{answer}"
        );
    }
}

#[test]
fn while_the_kernel_hangs_a_scrape_has_all_other_metrics_and_no_second_reader_starts() {
    let (release, held) = mpsc::channel::<()>();
    let (started, starts) = mpsc::channel();
    let held = Mutex::new(held);
    let server = reading(move || {
        started.send(()).unwrap();
        // Ends with the test, which drops the sender.
        let _ = held.lock().unwrap().recv();
        Ok(empty())
    });
    for _ in 0..2 {
        let answer = get(&server, "/metrics");
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && !answer.contains(FROM_THE_KERNEL),
            "{answer}"
        );
        assert!(get(&server, "/healthz").starts_with("HTTP/1.1 200 "));
    }
    assert!(starts.recv_timeout(Duration::from_secs(20)).is_ok());
    assert!(starts.try_recv().is_err());
    drop(release);
    // On a busy machine a reader that does not hang may be late, too.
    let asked = (1..=100_usize)
        .find(|_| get(&server, "/metrics").contains(FROM_THE_KERNEL))
        .expect("the kernel is read again");
    // Nothing has piled up meanwhile.
    let again = starts.try_iter().count();
    assert!((1..=asked).contains(&again), "{again} for {asked}");
}

#[test]
fn a_fifth_concurrent_scrape_is_refused() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let metrics = Arc::new(AgentMetrics::default());
    let collect = move || {
        let _ = held.lock().unwrap().recv();
        Ok(empty())
    };
    let scrape = Scrape::new(collect, metrics).patience(Duration::from_secs(20));
    let server = serve(ANY, Arc::new(AgentHealth::default()), Some(scrape)).unwrap();
    let (sender, answers) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..6 {
            let (server, sender) = (&server, sender.clone());
            scope.spawn(move || sender.send(get(server, "/metrics")).unwrap());
        }
        let next = || answers.recv_timeout(Duration::from_secs(20)).unwrap();
        // The others wait for the kernel.
        for _ in 0..2 {
            let answer = next();
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        }
        drop(release);
        for _ in 0..4 {
            let answer = next();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
    });
}

#[test]
fn a_scrape_has_a_content_type_that_prometheus_accepts() {
    let server = reading(|| Ok(empty()));
    let answer = get(&server, "/metrics");
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{answer}"
    );
    let request =
        "GET /metrics HTTP/1.1\r\nHost: node\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n";
    let answer = ask(&server, request);
    assert!(
        answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("# EOF\n"), "{answer}");
}

#[test]
fn unknown_paths_are_not_found_and_posts_are_refused() {
    let server = reading(|| Ok(empty()));
    assert!(get(&server, "/").starts_with("HTTP/1.1 404 "));
    let answer = ask(
        &server,
        "POST /metrics HTTP/1.1\r\nHost: node\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[test]
fn silent_clients_do_not_block_others() {
    let server = reading(|| Ok(empty()));
    let _silent: Vec<TcpStream> = (1..CONNECTIONS)
        .map(|_| TcpStream::connect(server).unwrap())
        .collect();
    assert!(get(&server, "/healthz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_port_in_use_is_named_with_a_remedy() {
    let taken = TcpListener::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap();
    let health = Arc::new(AgentHealth::default());
    let result = start(address, PathBuf::new(), health, Arc::new(AgentMetrics::default()));
    let error = result.unwrap_err();
    assert!(matches!(error, ServeError::Listen(_)), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains(&address.to_string()) && text.contains("`agent.port`"),
        "{text}"
    );
}
