//! `delivery: Peer`: from tc ingress on the NIC, after GRO, into the pod.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
};

use nix::sys::socket::{getsockopt, sockopt};
use xdp_e2e::{Agent, Status};
use xdp_lab::{HttpServer, LabPod, RawSocket, Style, UdpReceiver, UdpSender, http_get, wait_until};

use crate::{
    fixture::{Fixture, PATIENCE, at, expect_only, only_mark},
    frames::{on_wire, udp},
    moving::ip,
};

const SPEC: &str = "podSelector: {matchLabels: {app: game}}\ndelivery: Peer";
const RULE: &str = "{name: bulk, action: Redirect, mark: 42}";

fn fixture(style: Style) -> (Fixture, LabPod) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", style, 5);
    fixture.policy_with("bulk", SPEC, &[RULE]);
    // GRO is on by default on real NICs, but not on a veth.
    fixture.lab.node().set_gro("nic0", true).unwrap();
    (fixture, pod)
}

fn start(fixture: &Fixture) -> Agent<'_> {
    let agent = fixture.enforce(&["server"]);
    agent.wait_for("the NIC delivers to pods", |status| {
        status.json()["nics"][0]["peer"] == true
    });
    agent
}

fn arrived(status: &Status) -> bool {
    let [redirected, delivered, rest @ ..] = status.counts("bulk");
    redirected > 0 && redirected == delivered && rest == [0; 6]
}

fn datagrams_arrive_with_their_mark(style: Style) {
    let (fixture, pod) = fixture(style);
    let agent = start(&fixture);
    for ip in pod.addresses() {
        only_mark(&fixture.deliver(&pod, at(ip, 7777), 500), 42, 500);
    }
    expect_only(&agent, "bulk", &[("redirected", 1000), ("delivered", 1000)]);
}

#[test]
fn datagrams_arrive_with_their_mark_in_a_pod_with_a_host_route() {
    datagrams_arrive_with_their_mark(Style::Ptp);
}

#[test]
fn a_changed_mac_loses_nothing_while_no_agent_runs() {
    let (fixture, pod) = fixture(Style::Ptp);
    let mut agent = start(&fixture);
    agent.kill().unwrap();
    ip(&pod.ns, "link set eth0 address 02:00:5e:10:20:30");
    for address in pod.addresses() {
        only_mark(&fixture.deliver(&pod, at(address, 7777), 50), 42, 50);
    }
    assert_eq!(agent.look().packets("bulk", "delivered"), 100);
}

#[test]
fn datagrams_arrive_with_their_mark_in_a_pod_on_a_bridge() {
    datagrams_arrive_with_their_mark(Style::Bridge);
}

/// Longer than any frame of the wire.
const MERGED: usize = 1514 + 1;

#[test]
fn a_bulk_connection_arrives_merged_whole_and_with_its_mark() {
    let (fixture, pod) = fixture(Style::Ptp);
    let agent = start(&fixture);
    pod.ns.set_sysctl("net/ipv4/tcp_fwmark_accept", "1").unwrap();
    let sent: Vec<u8> = (0..1_u32 << 20).flat_map(u32::to_be_bytes).collect();
    for ip in pod.addresses() {
        let to = at(ip, 80);
        let tap = RawSocket::receiver(&pod.ns, "eth0").unwrap();
        let listener = pod.ns.run(|| TcpListener::bind(to)).unwrap().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            (all, getsockopt(&stream, sockopt::Mark).unwrap())
        });
        // Stop before the socket's buffer is full.
        let merged = thread::spawn(move || tap.receive(PATIENCE, |frame| frame.len() >= MERGED));
        let connect = || TcpStream::connect_timeout(&to, PATIENCE);
        let mut client = fixture.client.run(connect).unwrap().unwrap();
        client.write_all(&sent).unwrap();
        drop(client);
        let (received, mark) = server.join().unwrap();
        assert!(received == sent, "the received bytes differ");
        assert_eq!(mark, 42);
        println!("{ip}: merged to {} bytes", merged.join().unwrap().unwrap().len());
    }
    agent.wait_for("every segment was delivered", arrived);
}

#[test]
fn iperf3_transfers_over_delivery_peer() {
    let (fixture, pod) = fixture(Style::Ptp);
    let agent = start(&fixture);
    let ip = pod.v4().to_string();
    let spawn = |namespace: &xdp_lab::Namespace, arguments: &[&str]| {
        let mut command = Command::new("iperf3");
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        namespace.spawn(command).unwrap()
    };
    let server = spawn(&pod.ns, &["--server", "--one-off"]);
    let mut report = serde_json::Value::Null;
    wait_until("the server listens", PATIENCE, || {
        let client = spawn(&fixture.client, &["--client", &ip, "--bytes", "20M", "--json"]);
        let output = client.finish(PATIENCE).unwrap().stdout;
        report = serde_json::from_str(&output).unwrap();
        // With `--json`, iperf3 3.12 exits with 0 although the connection was refused.
        report.get("error").is_none()
    })
    .unwrap();
    assert!(server.wait(PATIENCE).unwrap().success());
    let sent = &report["end"]["sum_sent"];
    println!("{sent}");
    assert!(sent["bytes"].as_u64() >= Some(20 << 20), "{sent}");
    agent.wait_for("every segment was delivered", arrived);
}

#[test]
fn connections_work_and_show_their_mark() {
    let (fixture, pod) = fixture(Style::Bridge);
    let agent = start(&fixture);
    for ip in pod.addresses() {
        let server = HttpServer::start(&pod.ns, at(ip, 80)).unwrap();
        assert_eq!(
            http_get(&fixture.client, server.address(), PATIENCE)
                .unwrap()
                .mark,
            42
        );
    }
    agent.wait_for("all arrived", arrived);
}

#[test]
fn a_tagged_datagram_arrives_without_its_tag_and_with_its_mark() {
    let (fixture, pod) = fixture(Style::Ptp);
    let agent = start(&fixture);
    let nic = &fixture.nic;
    let out = RawSocket::sender(&fixture.client, &nic.wire).unwrap();
    for (from, to) in [(nic.client_v4, pod.v4()), (nic.client_v6, pod.v6())] {
        let inbox = UdpReceiver::bind(&pod.ns, at(to, 7777)).unwrap();
        out.send(&on_wire(nic, &[0], &udp(from, to, 7777, b"out of a VLAN")))
            .unwrap();
        only_mark(&inbox.wait_for(1, PATIENCE).unwrap(), 42, 1);
    }
    expect_only(&agent, "bulk", &[("redirected", 2), ("delivered", 2)]);
}

#[test]
fn packets_over_the_pods_mtu_pass_to_the_stack() {
    let (fixture, pod) = fixture(Style::Ptp);
    pod.set_host_mtu(1300).unwrap();
    pod.set_mtu(1300).unwrap();
    let agent = start(&fixture);
    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    let mut long = UdpSender::new(&fixture.client, to).unwrap().payload(1400);
    wait_until("the stack has reported the path MTU", PATIENCE, || {
        // An error is the stack's answer to the datagram before.
        let _ = long.send_one();
        inbox.received().packets > 0
    })
    .unwrap();
    assert_eq!(inbox.received().marks.keys().collect::<Vec<_>>(), [&0]);
    let status = agent.look();
    assert!(status.happened("fallbacks", "TooLong") > 0, "{status:#?}");
}

/// While no agent runs, the delivering program is detached: the stack delivers the packets that are marked
/// for it.
#[test]
fn nothing_is_lost_when_the_delivering_program_is_detached() {
    let (fixture, pod) = fixture(Style::Ptp);
    let mut agent = start(&fixture);
    let to = at(pod.v4(), 7777);
    only_mark(&fixture.deliver(&pod, to, 50), 42, 50);
    agent.kill().unwrap();
    let mut command = Command::new("bpftool");
    let pin = fixture.pins().join(format!("links/peer-{}", fixture.nic.ifindex));
    command.args(["link", "detach", "pinned"]).arg(pin);
    let finished = fixture
        .lab
        .node()
        .spawn(command)
        .unwrap()
        .finish(PATIENCE)
        .unwrap();
    assert!(finished.status.success(), "{finished:?}");
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    fixture.deliver_to(&inbox, to, 50);

    agent.start().unwrap();
    agent.wait_for("the NIC delivers again", |status| {
        status.running() && status.json()["nics"][0]["peer"] == true
    });
    wait_until("marks are back", PATIENCE, || {
        inbox.reset();
        fixture.deliver_to(&inbox, to, 50).marks.contains_key(&42)
    })
    .unwrap();
}
