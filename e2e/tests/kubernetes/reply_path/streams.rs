//! Bidirectional streams, from outside and from node to node.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use xdp_e2e::installed::{ClusterPod, ClusterPodSpec, Installation, NAMESPACE};

use crate::services::invalid;

const ANY: &str = "{name: any, action: Redirect, mark: 44}";
/// Port of the iperf3 servers.
const IPERF: u16 = 5201;
/// Duration; `XDP_E2E_STREAM_SECONDS` overrides it.
const SECONDS: u64 = 8;
/// Rate of each stream in each direction. The cluster's wires are rings of 256 packets that two cores empty.
/// Unlimited streams lose one packet in twenty there, with or without a policy, and TCP then waits for its
/// timers for a second and longer. At this rate, only the product can stall a stream.
const RATE: &str = "50M";
/// Consecutive half seconds without a byte that count as a stall: longer than a busy machine delays a
/// process.
const STALL: usize = 4;
const PATIENCE: Duration = Duration::from_secs(20);

fn seconds() -> u64 {
    let given = std::env::var("XDP_E2E_STREAM_SECONDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(SECONDS)
}

/// Parses the report of iperf3: bytes in each half second, sent by the client and by the server.
fn intervals(report: &str) -> Vec<[f64; 2]> {
    let report: Value = serde_json::from_str(report).unwrap();
    let intervals = report["intervals"].as_array().expect("it was measured");
    let bytes = |interval: &Value, sum: &str| interval[sum]["bytes"].as_f64().unwrap_or(0.0);
    intervals
        .iter()
        .map(|one| [bytes(one, "sum"), bytes(one, "sum_bidir_reverse")])
        .collect()
}

/// Formats the mean and the lowest rate in each direction.
fn summary(halves: &[[f64; 2]]) -> String {
    let direction = |index: usize| {
        let rates = halves.iter().map(|half| half[index] * 16.0 / 1e9);
        let mean = rates.clone().sum::<f64>() / halves.iter().map(|_| 1.0).sum::<f64>();
        let least = rates.fold(f64::INFINITY, f64::min);
        format!("{mean:.2} Gbit/s, {least:.2} in the slowest half second")
    };
    format!("in {}; out {}", direction(0), direction(1))
}

/// Returns the longest time without a byte in either direction, in half seconds.
fn longest_silence(halves: &[[f64; 2]]) -> usize {
    let direction = |index: usize| {
        let moves = halves.split(|half| half[index] > 0.0);
        moves.map(<[_]>::len).max().unwrap_or(0)
    };
    direction(0).max(direction(1))
}

/// Starts a server in the pod that exits after one client.
fn serve(pod: &ClusterPod<'_>) {
    pod.exec_ok(&["iperf3", "-s", "-1", "-D"]).unwrap();
}

fn arguments(to: &ClusterPod<'_>) -> Vec<String> {
    let (to, seconds) = (to.v4(), seconds());
    let line = format!("iperf3 -c {to} --bidir -b {RATE} -l 16K -i 0.5 -t {seconds} -J");
    line.split(' ').map(str::to_owned).collect()
}

fn from_outside(installed: &Installation, to: &ClusterPod<'_>) -> String {
    let words = arguments(to);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdout(Stdio::piped());
    let process = installed.client().spawn(command).unwrap();
    process
        .finish(PATIENCE + Duration::from_secs(seconds()))
        .unwrap()
        .stdout
}

fn from_pod(from: &ClusterPod<'_>, to: &ClusterPod<'_>) -> String {
    let words = arguments(to);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    from.exec_ok(&words).unwrap()
}

#[test]
fn streams_in_both_directions_at_once_never_stall() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let space = installed.space("streams").unwrap();
    let specs = [
        ClusterPodSpec::new("ptp", "game", 1),
        ClusterPodSpec::new("bridge", "game", 2),
        ClusterPodSpec::new("ptp-too", "game", 1),
        ClusterPodSpec::new("bridge-too", "game", 2),
    ];
    let [ptp, bridge, ptp_too, bridge_too] = space.pods(&specs).unwrap().try_into().unwrap();
    space.policy("game", "game", &[ANY]).unwrap();
    space.until_programmed("game", 4).unwrap();
    let before = invalid(installed);
    let servers = [&ptp, &bridge, &bridge_too];
    for pod in servers {
        serve(pod);
    }
    thread::scope(|scope| {
        let streams = [
            scope.spawn(|| from_outside(installed, &ptp)),
            scope.spawn(|| from_outside(installed, &bridge)),
            scope.spawn(|| from_pod(&ptp_too, &bridge_too)),
        ];
        for (stream, server) in streams.into_iter().zip(servers) {
            let intervals = intervals(&stream.join().unwrap());
            // The first and the last interval are incomplete.
            let whole = &intervals[1..intervals.len() - 1];
            assert!(whole.len() as u64 >= 2 * seconds() - 3, "{intervals:?}");
            assert!(
                longest_silence(whole) < STALL,
                "to {}: {intervals:?}",
                server.name
            );
            println!("to {}: {}", server.name, summary(whole));
            let tracked = server.node.namespace.tracked_of(server.v4(), IPERF);
            assert_eq!(tracked.unwrap(), 0, "on {}", server.node.name);
        }
    });
    assert_eq!(
        invalid(installed),
        before,
        "kube-proxy dropped something as INVALID"
    );
}

/// Opens a connection on which the server sends lines continuously.
fn connect(installed: &Installation, pod: &ClusterPod<'_>) -> TcpStream {
    let connect = || TcpStream::connect_timeout(&pod.http(), PATIENCE);
    let mut stream = installed.client().run(connect).unwrap().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /lines HTTP/1.1\r\nHost: pod\r\n\r\n").unwrap();
    let lines = BufReader::new(&stream).lines().take(20);
    assert_eq!(lines.filter_map(Result::ok).count(), 20);
    stream
}

/// Returns how many conntrack entries of the pod's node have the connection's port.
fn tracked(pod: &ClusterPod<'_>, stream: &TcpStream) -> usize {
    let own = stream.local_addr().unwrap();
    pod.node.namespace.tracked_of(own.ip(), own.port()).unwrap()
}

/// Returns the tables in which `xdp-agent flows` on the pod's node lists the connection.
fn listed(installed: &Installation, pod: &ClusterPod<'_>, stream: &TcpStream) -> Vec<String> {
    let agent = installed.agent_pod(pod.node).unwrap();
    let agent = agent["metadata"]["name"].as_str().unwrap();
    let name = format!("{}/{}", pod.namespace, pod.name);
    let call = ["exec", "-n", NAMESPACE, agent, "--", "xdp-agent", "flows"];
    let call = [&call[..], &["--pod", &name, "-o", "json"]].concat();
    let flows: Value = serde_json::from_str(&installed.kubectl(&call).unwrap()).unwrap();
    let flows = flows["flows"].as_array().unwrap().iter();
    let own = flows.filter(|flow| flow["remotePort"] == stream.local_addr().unwrap().port());
    own.map(|flow| flow["table"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn connections_on_the_reply_path_are_not_in_conntrack_but_listed_by_the_agent() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("tracked").unwrap();
    let specs = [
        ClusterPodSpec::new("ptp", "game", 1),
        ClusterPodSpec::new("bridge", "game", 2),
    ];
    let pods = space.pods(&specs).unwrap();
    for pod in &pods {
        let stream = connect(installed, pod);
        assert_eq!(tracked(pod, &stream), 1, "without a policy, on {}", pod.node.name);
    }
    space.policy("game", "game", &[ANY]).unwrap();
    space.until_programmed("game", 2).unwrap();
    for pod in &pods {
        let stream = connect(installed, pod);
        assert_eq!(tracked(pod, &stream), 0, "on {}", pod.node.name);
        assert_eq!(
            listed(installed, pod, &stream),
            ["established"],
            "on {}",
            pod.node.name
        );
        let state = installed.node_state(pod.node).unwrap();
        assert_eq!(state["status"]["nics"][0]["replyPath"], "Attached", "{state:#}");
    }
}
