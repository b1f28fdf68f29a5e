use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use clap::Parser as _;
use xdp_client::serve::{
    ListenArgs, MetricsAccess, MetricsDoor, {self},
};

use crate::{
    datapath::OpenError,
    report::{
        metrics::{AgentMetrics, KernelMetrics, RuleLimits},
        serve::{AgentHealth, ServeError, scrape::Scrape, start},
        status::{AgentStatus, NodeStatus, StatusError},
    },
};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const LIMITS: RuleLimits = RuleLimits {
    total: 1,
    per_namespace: 1,
    rule_label: true,
};
/// As in `/metrics` of an empty status.
const FROM_THE_KERNEL: &str = "xdp_agent_pods{";

/// Requests the metrics as HTTP/1.0, so that the body is not chunked, and returns all of the answer.
fn ask(server: SocketAddr, headers: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).unwrap();
    let request = format!("GET /metrics HTTP/1.0\r\nHost: node\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(server: SocketAddr) -> String {
    ask(server, "")
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
fn reading(collect: impl Fn() -> Result<KernelMetrics, StatusError> + Send + Sync + 'static) -> SocketAddr {
    let metrics = Arc::new(AgentMetrics::default());
    let scrape = Scrape::new(collect, metrics).patience(Duration::from_millis(200));
    let door = MetricsDoor {
        address: ANY,
        access: MetricsAccess::Everyone,
        source: scrape.into_source(),
    };
    serve::start(None, Some(door)).unwrap().metrics.unwrap()
}

#[test]
fn without_the_kernel_a_scrape_has_all_other_metrics_and_counts_an_error() {
    let server = reading(|| {
        let path = Path::new("/sys/fs/bpf/x").to_owned();
        Err(StatusError::Tables(OpenError::NotInstalled { path }))
    });
    for errors in 1..3 {
        let answer = get(server);
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
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
        Ok(empty().into())
    });
    for _ in 0..2 {
        let answer = get(server);
        assert!(
            answer.starts_with("HTTP/1.0 200 ") && !answer.contains(FROM_THE_KERNEL),
            "{answer}"
        );
    }
    assert!(starts.recv_timeout(Duration::from_secs(20)).is_ok());
    assert!(starts.try_recv().is_err());
    drop(release);
    // On a busy machine a reader that does not hang may be late, too.
    let asked = (1..=100_usize)
        .find(|_| get(server).contains(FROM_THE_KERNEL))
        .expect("the kernel is read again");
    // Nothing has piled up meanwhile.
    let again = starts.try_iter().count();
    assert!((1..=asked).contains(&again), "{again} for {asked}");
}

#[test]
fn a_scrape_has_a_content_type_that_prometheus_accepts() {
    let server = reading(|| Ok(empty().into()));
    let answer = get(server);
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{answer}"
    );
    let answer = ask(server, "Accept: application/openmetrics-text;version=1.0.0\r\n");
    assert!(
        answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("# EOF\n"), "{answer}");
}

#[derive(Debug, clap::Parser)]
struct Listen {
    #[command(flatten)]
    args: ListenArgs,
}

#[test]
fn a_port_in_use_is_named_with_a_remedy() {
    let taken = TcpListener::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap();
    for flag in ["--health-probe-bind-address", "--metrics-bind-address"] {
        let listen = Listen::parse_from(["test", flag, &address.to_string()]).args;
        let health = Arc::new(AgentHealth::default());
        let result = start(&listen, false, (PathBuf::new(), LIMITS), health, Arc::default());
        let error = result.unwrap_err();
        assert!(matches!(error, ServeError::Listen(_)), "{error:?}");
        let text = error.to_string();
        for part in [&address.to_string(), flag, "`agent.port`"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
