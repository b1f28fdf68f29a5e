//! `action: Reject`: clients get an immediate error instead of a timeout.

mod answers;
mod limit;
mod silence;

use std::{
    io::{
        ErrorKind, Read as _, Write as _, {self},
    },
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use xdp_e2e::Agent;
use xdp_lab::{HttpServer, LabPod, Style, http_get};

use crate::fixture::{Fixture, PATIENCE, at, expect_only};

/// Too short to notice. A client without an answer retries after a second.
const AT_ONCE: Duration = Duration::from_millis(100);
const BEFORE_THE_NEXT_ATTEMPT: Duration = Duration::from_secs(1);
/// Some attempts may be slow on a busy machine: the fastest counts.
const ATTEMPTS: u64 = 5;

const WEB: &str =
    "{name: web, ports: [{protocol: TCP, port: 80}, {protocol: UDP, port: 80}], action: Reject}";

fn fixture(rules: &[&str]) -> (Fixture, LabPod) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", rules);
    fixture.nic.receive_xdp_tx().unwrap();
    (fixture, pod)
}

fn connect(fixture: &Fixture, to: SocketAddr) -> io::Result<TcpStream> {
    let connect = || TcpStream::connect_timeout(&to, PATIENCE);
    fixture.client.run(connect).unwrap()
}

fn fastest(attempt: impl Fn() -> Duration) -> Duration {
    (0..ATTEMPTS).map(|_| attempt()).min().unwrap()
}

/// Waits until the rule has rejected at least this many and counted nothing else. A delayed client may have
/// retried.
#[track_caller]
pub(crate) fn only_rejects(agent: &Agent<'_>, rule: &str, packets: u64) {
    let what = format!("`{rule}` has rejected {packets} and done nothing else");
    agent.wait_for(&what, |status| {
        let rejected = status.packets(rule, "rejected");
        rejected >= packets && status.counts(rule).iter().sum::<u64>() == rejected
    });
}

#[test]
fn a_tcp_clients_connection_is_refused_at_once() {
    let (fixture, pod) = fixture(&[WEB]);
    let agent = fixture.enforce(&["server"]);
    for ip in pod.addresses() {
        // A server listens at the rejected port.
        let server = HttpServer::start(&pod.ns, at(ip, 80)).unwrap();
        let fastest = fastest(|| {
            let start = Instant::now();
            let refused = connect(&fixture, server.address()).unwrap_err();
            let took = start.elapsed();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{ip}");
            took
        });
        println!("{ip}: refused after {fastest:?}");
        assert!(fastest < AT_ONCE, "{fastest:?}");
        assert_eq!(server.served(), []);
    }
    only_rejects(&agent, "web", 2 * ATTEMPTS);
}

/// Returns the time until curl reports that it was refused.
fn refused_curl(fixture: &Fixture, to: SocketAddr) -> Duration {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--globoff",
        "--verbose",
        "--max-time",
        "20",
    ]);
    command.arg(format!("http://{to}/"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let finished = fixture.client.spawn(command).unwrap().finish(PATIENCE).unwrap();
    let took = start.elapsed();
    assert_eq!(finished.status.code(), Some(7), "{finished:?}");
    assert!(finished.stderr.contains("Connection refused"), "{finished:?}");
    took
}

#[test]
fn curl_fails_at_once_at_a_rejected_port() {
    let (fixture, pod) = fixture(&[WEB]);
    let _agent = fixture.enforce(&["server"]);
    for ip in pod.addresses() {
        let fastest = fastest(|| refused_curl(&fixture, at(ip, 80)));
        assert!(fastest < BEFORE_THE_NEXT_ATTEMPT, "{ip}: {fastest:?}");
    }
}

/// Returns the error that a connected UDP socket gets.
fn udp_error(fixture: &Fixture, to: SocketAddr) -> io::Error {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let request = || {
        let socket = UdpSocket::bind(at(any, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(to)?;
        socket.send(b"request")?;
        socket.recv(&mut [0; 16])
    };
    fixture.client.run(request).unwrap().unwrap_err()
}

/// Linux turns type 3 code 13 into EHOSTUNREACH (`icmp_err_convert` in net/ipv4/icmp.c), and type 1 code 1 of
/// `ICMPv6` into EACCES (`tab_unreach` in net/ipv6/icmp.c).
#[test]
fn a_udp_client_gets_an_administratively_prohibited_error() {
    let (fixture, pod) = fixture(&[WEB]);
    let agent = fixture.enforce(&["server"]);
    for (ip, errno) in [(pod.v4(), libc::EHOSTUNREACH), (pod.v6(), libc::EACCES)] {
        let fastest = fastest(|| {
            let start = Instant::now();
            let error = udp_error(&fixture, at(ip, 80));
            assert_eq!(error.raw_os_error(), Some(errno), "{error}");
            start.elapsed()
        });
        assert!(fastest < BEFORE_THE_NEXT_ATTEMPT, "{ip}: {fastest:?}");
    }
    expect_only(&agent, "web", &[("rejected", 2 * ATTEMPTS)]);
}

#[test]
fn the_pod_answers_at_other_ports() {
    let (fixture, pod) = fixture(&[WEB]);
    let agent = fixture.enforce(&["server"]);
    for ip in pod.addresses() {
        let server = HttpServer::start(&pod.ns, at(ip, 81)).unwrap();
        assert_eq!(
            http_get(&fixture.client, server.address(), PATIENCE)
                .unwrap()
                .mark,
            0
        );
    }
    expect_only(&agent, "web", &[]);
}

#[test]
fn an_audited_reject_refuses_no_client_and_is_counted_as_audited() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    let spec = "podSelector: {matchLabels: {app: game}}\nenforcement: Audit";
    fixture.policy_with("players", spec, &[WEB]);
    let agent = fixture.enforce(&["server"]);
    let server = HttpServer::start(&pod.ns, at(pod.v4(), 80)).unwrap();
    http_get(&fixture.client, server.address(), PATIENCE).unwrap();
    agent.wait_for("all packets of the connection were audited", |status| {
        let audited = status.packets("web", "audited");
        audited >= 4 && status.counts("web").iter().sum::<u64>() == audited
    });
}

#[test]
fn an_established_connection_is_reset_when_a_rule_rejects_it() {
    let (fixture, pod) = fixture(&[&WEB.replace("Reject", "Pass")]);
    let agent = fixture.enforce(&["server"]);
    let to = at(pod.v4(), 80);
    let listener = pod.ns.run(|| TcpListener::bind(to)).unwrap().unwrap();
    let mut client = connect(&fixture, to).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"hello").unwrap();
    server.read_exact(&mut [0; 5]).unwrap();

    fixture.policy("players", &[WEB]);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reset = None;
    xdp_lab::wait_until("the new rule decides", PATIENCE, || {
        // Until then the bytes arrive without an answer.
        reset = client.write_all(b"x").err();
        reset.is_some()
    })
    .unwrap();
    let kind = reset.unwrap().kind();
    assert!(
        matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "{kind:?}"
    );
    agent.wait_for("it is counted", |status| status.packets("web", "rejected") >= 1);
}
