//! What clients of the agent's sockets cannot do: keep others out, take memory, or answer for the agent.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _, net},
    },
    time::{Duration, Instant},
};

use xdp_e2e::{Agent, IdleConnections, METRICS_PORT, installed::http_get_within};
use xdp_lab::{Namespace, Style, wait_until};

use crate::fixture::{Fixture, PATIENCE, PLAYERS};

/// The kubelet's time limit for the startup and the readiness probe.
const PROBE: Duration = Duration::from_secs(3);
/// Prometheus' time limit by default.
const SCRAPE: Duration = Duration::from_secs(10);
/// Where the kubelet asks.
const PROBES: ([u8; 4], u16) = ([127, 0, 0, 1], 9466);
/// Connections of both servers, as the documentation says, and what a scrape opens.
const DESCRIPTORS: usize = 512 + 256 + 32;
/// Resident memory that clients may take, in KiB.
const MEMORY: u64 = 16 << 10;

/// Starts an agent whose metrics are served for everyone.
fn start(fixture: &Fixture) -> Agent<'_> {
    let mut agent = Agent::new(&fixture.lab, &fixture.manifests).listens_to_all();
    agent.start().unwrap();
    wait_until("the agent is ready", PATIENCE, || {
        agent.get("/readyz").is_ok_and(|reply| reply.status == 200)
    })
    .unwrap();
    agent
}

fn metrics(fixture: &Fixture) -> SocketAddr {
    SocketAddr::new(fixture.nic.v4, METRICS_PORT)
}

/// The resources of the agent's process: resident memory in KiB, open descriptors.
fn held(agent: &Agent<'_>) -> (u64, usize) {
    let id = agent.pid().unwrap();
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    (kib, fs::read_dir(format!("/proc/{id}/fd")).unwrap().count())
}

/// Scrapes once, without another attempt.
#[track_caller]
fn scrape(from: &Namespace, server: SocketAddr) {
    let reply = http_get_within(from, server, "/metrics", SCRAPE).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(reply.body.contains("xdp_agent_pods{"), "{}", reply.body);
}

#[track_caller]
fn probes_answer(node: &Namespace) {
    for path in ["/healthz", "/readyz"] {
        let reply = http_get_within(node, SocketAddr::from(PROBES), path, PROBE).unwrap();
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    }
}

/// The client is the attacker; the node itself scrapes, from another address.
#[test]
fn idle_connections_keep_out_neither_probes_nor_scrapes_and_take_no_memory() {
    let fixture = Fixture::new();
    let agent = start(&fixture);
    let (node, server) = (fixture.lab.node(), metrics(&fixture));
    scrape(node, server);
    let before = held(&agent);
    for count in [400, 4000] {
        let idle = IdleConnections::open(&fixture.client, server, count).unwrap();
        let answer = || {
            probes_answer(node);
            scrape(node, server);
        };
        holds_little(&agent, before, answer);
        println!("{} connections", idle.opened());
    }
    assert_eq!(agent.ended().unwrap(), None);
}

/// Checks what the agent holds while it answers.
#[track_caller]
fn holds_little(agent: &Agent<'_>, before: (u64, usize), answer: impl Fn()) {
    let mut most = (0, 0);
    for _ in 0..5 {
        answer();
        let (memory, descriptors) = held(agent);
        most = (memory.max(most.0), descriptors.max(most.1));
    }
    println!("(KiB, descriptors): {most:?}, before: {before:?}");
    assert!(most.0 <= before.0 + MEMORY, "{before:?} before, {most:?}");
    assert!(most.1 <= before.1 + DESCRIPTORS, "{before:?} before, {most:?}");
}

#[test]
fn idle_connections_to_the_probes_do_not_keep_out_the_kubelet() {
    let fixture = Fixture::new();
    let agent = start(&fixture);
    let node = fixture.lab.node();
    probes_answer(node);
    let before = held(&agent);
    for count in [400, 2000] {
        let idle = IdleConnections::open(node, SocketAddr::from(PROBES), count).unwrap();
        holds_little(&agent, before, || probes_answer(node));
        println!("{} connections", idle.opened());
    }
    scrape(&fixture.client, metrics(&fixture));
    assert_eq!(agent.ended().unwrap(), None);
}

#[test]
fn requests_that_are_never_complete_take_no_memory_and_do_not_keep_out_scrapes_of_their_own_address() {
    let fixture = Fixture::new();
    let agent = start(&fixture);
    let (node, server, before) = (fixture.lab.node(), metrics(&fixture), held(&agent));
    let connect = |server| {
        let mut stream = TcpStream::connect(server)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ")?;
        // The server may have closed it.
        let _ = stream.write_all(&vec![b'x'; 30 << 10]);
        Ok::<_, std::io::Error>(stream)
    };
    let all = |server| (0..400).map(|_| connect(server)).collect::<Vec<_>>();
    let slow = [
        fixture.client.run(|| all(server)).unwrap(),
        node.run(|| all(SocketAddr::from(PROBES))).unwrap(),
    ];
    let started = Instant::now();
    scrape(&fixture.client, server);
    assert!(started.elapsed() < PROBE, "{:?}", started.elapsed());
    holds_little(&agent, before, || probes_answer(node));
    drop(slow);
    drop(agent);
}

#[test]
fn without_an_api_server_metrics_for_everyone_need_a_flag() {
    let fixture = Fixture::new();
    let mut agent =
        Agent::new(&fixture.lab, &fixture.manifests).arguments(&["--metrics-bind-address=0.0.0.0:9465"]);
    agent.start().unwrap();
    let (code, log) = agent.wait_for_end().unwrap();
    assert_eq!(code, Some(1));
    assert!(
        log.contains("`0.0.0.0:9465`") && log.contains("--metrics-secure=false"),
        "{log}"
    );
}

/// Earlier versions used this abstract name, which any process of the network namespace can bind first.
#[test]
fn another_process_cannot_answer_explain_in_the_agents_place() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    let closed = "{name: closed, ports: [{protocol: TCP}], action: Drop}";
    fixture.policy("players", &[closed, PLAYERS]);
    let mut name = b"xdp-agent:".to_vec();
    name.extend(fixture.lab.pin_dir().as_os_str().as_bytes());
    let bind = || net::UnixListener::bind_addr(&net::SocketAddr::from_abstract_name(&name)?);
    let _squatter = fixture.lab.node().run(bind).unwrap().unwrap();
    let agent = fixture.start(&["server"]);
    let from = fixture.nic.client_v4;
    let line = format!(
        "explain --from {from} --to {} --protocol UDP --port 7777 -o json",
        pod.v4()
    );
    let finished = agent.call(&line.split(' ').collect::<Vec<_>>()).unwrap();
    assert!(finished.stdout.contains(r#""rule": "closed""#), "{finished:?}");
    let directory = fs::metadata("/run/xdp-operator").unwrap();
    assert_eq!((directory.mode() & 0o7777, directory.uid()), (0o700, 0));
}
