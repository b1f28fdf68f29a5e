//! Rules redirect only in namespaces that the administrator selects.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use xdp_e2e::{Agent, Status};
use xdp_lab::{LabPod, Style, UdpReceiver, UdpSender, wait_until};

use super::{DELIVERIES, policy, start, wait};
use crate::fixture::{Fixture, PATIENCE, PLAYERS, at, expect_only, only_mark};

const SELECTOR: [&str; 2] = [
    "--redirect-namespace-selector",
    "{matchLabels: {redirect: allowed}}",
];
const DROP: &str = "{name: secret, ports: [{protocol: UDP, port: 9999}], action: Drop}";
const LIMITED: &str = "{name: limited, ports: [{protocol: UDP, port: 8888}], action: Redirect, rateLimit: \
                       {packetsPerSecond: 1, burst: 5}}";
const POLICY: &str = "XdpPolicy games/players";

/// Writes the namespace of the policies.
fn label(fixture: &Fixture, redirect: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: games, labels: {{redirect: {redirect}}}}}\n"
    );
    fixture.manifests.write("namespace.yaml", &text).unwrap();
}

fn is_refused(status: &Status) -> bool {
    status.problem(POLICY, "NotPermitted").is_some()
}

fn is_followed(agent: &Agent<'_>, fixture: &Fixture, redirect: &str) {
    label(fixture, redirect);
    agent.wait_for("the agent follows the label", |status| {
        is_refused(status) == (redirect != "allowed") && status.programmed("server")
    });
}

/// Waits until datagrams to the pod are redirected, by both families.
fn are_redirected(fixture: &Fixture, pod: &LabPod) {
    for ip in pod.addresses() {
        let inbox = UdpReceiver::bind(&pod.ns, at(ip, 7777)).unwrap();
        wait_until("datagrams are redirected", PATIENCE, || {
            inbox.reset();
            let received = fixture.deliver_to(&inbox, at(ip, 7777), 5);
            received.marks.keys().eq([&42])
        })
        .unwrap();
    }
}

/// Datagrams pass to the pod by the stack, and count as fallbacks for the reason.
fn pass(agent: &Agent<'_>, fixture: &Fixture, pod: &LabPod) {
    let before = agent.look();
    let counted = |status: &Status, field| status.packets("players", field);
    for ip in pod.addresses() {
        only_mark(&fixture.deliver(pod, at(ip, 7777), 20), 0, 20);
    }
    let status = agent.wait_for("all have fallen back", |status| {
        counted(status, "fellBack") == counted(&before, "fellBack") + 40
    });
    assert_eq!(counted(&status, "redirected"), counted(&before, "redirected"));
    let reasons = |status: &Status| status.happened("fallbacks", "NotPermitted");
    assert_eq!(reasons(&status), reasons(&before) + 40);
}

#[test]
fn without_the_label_redirects_pass_and_with_it_they_do_not() {
    for delivery in DELIVERIES {
        let fixture = Fixture::new();
        let pod = fixture.pod("server", "game", Style::Ptp, 5);
        policy(&fixture, delivery, &[PLAYERS, DROP]);
        let mut agent = start(&fixture, &SELECTOR);
        assert!(is_refused(&agent.look()), "no label at all");
        pass(&agent, &fixture, &pod);

        let explained = format!(
            "explain --from {} --to server --protocol UDP --port 7777 -o json",
            fixture.nic.client_v4
        );
        let explained = agent.call(&explained.split(' ').collect::<Vec<_>>()).unwrap();
        assert!(explained.stdout.contains("NotPermitted"), "{explained:?}");

        is_followed(&agent, &fixture, "allowed");
        are_redirected(&fixture, &pod);
        is_followed(&agent, &fixture, "denied");
        pass(&agent, &fixture, &pod);

        agent.stop().unwrap();
        agent.start().unwrap();
        wait(&agent);
        pass(&agent, &fixture, &pod);
    }
}

#[test]
fn without_permission_drops_and_limits_act() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    policy(&fixture, "Redirect", &[PLAYERS, DROP, LIMITED]);
    let agent = start(&fixture, &SELECTOR);
    let mut dropped = UdpSender::new(&fixture.client, at(pod.v4(), 9999)).unwrap();
    let mut limited = UdpSender::new(&fixture.client, at(pod.v4(), 8888)).unwrap();
    dropped.send(10).unwrap();
    limited.send(40).unwrap();
    expect_only(&agent, "secret", &[("dropped", 10)]);
    agent.wait_for("the excess is dropped", |status| {
        let [fell_back, over] = ["fellBack", "limited"].map(|field| status.packets("limited", field));
        fell_back + over == 40 && over >= 30
    });
}

#[test]
fn without_a_selector_every_namespace_may_redirect() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    label(&fixture, "denied");
    policy(&fixture, "Redirect", &[PLAYERS]);
    let agent = start(&fixture, &[]);
    are_redirected(&fixture, &pod);
    assert!(!is_refused(&agent.look()));
}

#[test]
fn a_connection_moves_to_the_stack_and_continues_when_the_permission_is_withdrawn() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    label(&fixture, "allowed");
    policy(
        &fixture,
        "Redirect",
        &["{name: web, ports: [{protocol: TCP, port: 80}], action: Redirect}"],
    );
    let agent = start(&fixture, &SELECTOR);
    agent.wait_for("the pod is ready", |status| status.ready("server"));
    let to = at(pod.v4(), 80);
    let listener = pod.ns.run(|| TcpListener::bind(to)).unwrap().unwrap();
    let connect = || TcpStream::connect_timeout(&to, PATIENCE);
    let mut client = fixture.client.run(connect).unwrap().unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut talk = || {
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let mut received = [0; 4];
        client.write_all(b"ping").unwrap();
        server.read_exact(&mut received).unwrap();
        server.write_all(b"pong").unwrap();
        client.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"pong");
    };
    talk();
    agent.wait_for("the flow is tracked", |status| status.flows("established") == 1);

    is_followed(&agent, &fixture, "denied");
    talk();
    agent.wait_for("the stack has the flow", |status| {
        status.flows("established") == 0
    });
    talk();
    assert_eq!(agent.look().happened("flowEvents", "Drained"), 0);
}
