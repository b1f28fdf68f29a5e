//! TCP connections: they are accepted, answered, and have their mark.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
};

use xdp_lab::{HttpServer, Namespace, Style, http_get, wait_until};

use crate::fixture::{Fixture, PATIENCE, at, counts};

const WEB: &str = "{name: web, ports: [{protocol: TCP, port: 80}], action: Redirect, mark: 42}";

fn an_accepted_connection_shows_the_mark(style: Style) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", style, 5);
    fixture.policy("web", &[WEB]);
    let agent = fixture.start(&["server"]);
    for ip in pod.addresses() {
        let server = HttpServer::start(&pod.ns, at(ip, 80)).unwrap();
        let answer = http_get(&fixture.client, server.address(), PATIENCE).unwrap();
        assert_eq!(answer.mark, 42, "{ip}");
        assert_eq!(curl(&fixture.client, server.address()), "42");
        assert_eq!(server.served().len(), 2);
    }
    agent.wait_for("all that was redirected arrived", |status| {
        let [redirected, delivered, rest @ ..] = counts(status, "web");
        redirected == delivered && redirected >= 4 * 4 && rest == [0; 4]
    });
}

#[test]
fn an_accepted_connection_shows_the_mark_in_a_pod_with_a_host_route() {
    an_accepted_connection_shows_the_mark(Style::Ptp);
}

#[test]
fn an_accepted_connection_shows_the_mark_in_a_pod_on_a_bridge() {
    an_accepted_connection_shows_the_mark(Style::Bridge);
}

/// Requests `/` by curl, and returns the mark in the answer.
fn curl(client: &Namespace, server: SocketAddr) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--globoff", "--max-time", "20"]);
    command.arg(format!("http://{server}/"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = client.spawn(command).unwrap().finish(PATIENCE).unwrap();
    assert!(finished.status.success(), "{finished:?}");
    finished.stdout.trim().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn a_dropped_connection_attempt_gets_no_answer_at_all() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    let drop = "{name: web, ports: [{protocol: TCP, port: 80}], action: Drop}";
    fixture.policy("web", &[drop]);
    let agent = fixture.start(&[]);
    agent.wait_for("the rule is programmed", |status| status.programmed("server"));
    let to = at(pod.v4(), 80);
    let server = HttpServer::start(&pod.ns, to).unwrap();
    let refused = http_get(&fixture.client, to, std::time::Duration::from_millis(500)).unwrap_err();
    assert!(format!("{:#}", anyhow::Error::new(refused)).contains("timeout"));
    assert_eq!(server.served(), []);
    agent.wait_for("it was counted", |status| status.packets("web", "dropped") >= 1);
}

fn a_megabyte_goes_both_ways_unharmed(style: Style) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", style, 5);
    fixture.policy("web", &[WEB]);
    let agent = fixture.start(&["server"]);
    let sent: Vec<u8> = (0..1_u32 << 18)
        .flat_map(|word| word.wrapping_mul(0x9e37_79b9).to_be_bytes())
        .collect();
    for ip in pod.addresses() {
        let to = at(ip, 80);
        let listener = pod.ns.run(|| TcpListener::bind(to)).unwrap().unwrap();
        let server = thread::spawn(move || echo(&listener));
        let stream = fixture
            .client
            .run(|| TcpStream::connect_timeout(&to, PATIENCE))
            .unwrap();
        assert!(send_and_read(stream.unwrap(), &sent) == sent, "the echo differs");
        server.join().unwrap();
    }
    agent.wait_for("all that was redirected arrived", |status| {
        let [redirected, delivered, rest @ ..] = counts(status, "web");
        redirected == delivered && redirected >= 2 * (1 << 20) / 1500 && rest == [0; 4]
    });
}

#[test]
fn a_megabyte_goes_both_ways_unharmed_in_a_pod_with_a_host_route() {
    a_megabyte_goes_both_ways_unharmed(Style::Ptp);
}

#[test]
fn a_megabyte_goes_both_ways_unharmed_in_a_pod_on_a_bridge() {
    a_megabyte_goes_both_ways_unharmed(Style::Bridge);
}

/// Sends all bytes back once the client has shut down its sending direction.
fn echo(listener: &TcpListener) {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    wait_until("a client connects", PATIENCE, || {
        accepted = listener.accept().ok();
        accepted.is_some()
    })
    .unwrap();
    let (mut stream, _) = accepted.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    stream.write_all(&all).unwrap();
}

fn send_and_read(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}
