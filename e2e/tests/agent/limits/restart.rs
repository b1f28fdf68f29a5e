//! The kernel enforces limits and answers rejected packets, also while no agent runs.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    thread,
};

use xdp_lab::{Namespace, Style, UdpReceiver, UdpSender};

use super::{Marker, RATE, fixture, flood, is_due, wait_until_counted};
use crate::{
    fixture::{Fixture, PATIENCE, at, expect_only},
    reject::only_rejects,
};

const KILLS: usize = 3;

#[test]
fn a_limit_stays_exact_over_kills_and_restarts() {
    const SENT: u64 = 30_000;
    let (fixture, pod) = fixture("Redirect", "Source");
    let mut agent = fixture.start(&["server"]);
    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    let mut senders = [UdpSender::new(&fixture.client, to).unwrap()];
    let mut marker = Marker::new(&fixture, &pod, pod.v4());
    let sent_at = thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&mut marker, &mut senders, SENT, 3 * RATE as u32));
        for kill in 1..=KILLS as u64 {
            let goal = kill * SENT / 8;
            xdp_lab::wait_until("packets arrive", PATIENCE, || {
                inbox.received().packets >= goal / 3
            })
            .unwrap();
            agent.kill().unwrap();
            agent.start().unwrap();
            agent.wait_for("the agent runs", |status| {
                status.running() && status.ready("server")
            });
        }
        flood.join().unwrap()
    });
    wait_until_counted(&agent, &inbox, SENT, "redirected");
    is_due(inbox.received().packets, &sent_at);
}

fn is_refused(client: &Namespace, to: SocketAddr) {
    let connect = || TcpStream::connect_timeout(&to, PATIENCE);
    let refused = client.run(connect).unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn connections_are_refused_while_no_agent_runs_and_after_it_is_back() {
    const EACH: u64 = 20;
    let fixture = Fixture::new();
    fixture.nic.receive_xdp_tx().unwrap();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    let rules = [
        "{name: web, ports: [{protocol: TCP, port: 80}], action: Reject}",
        "{name: rest, action: Pass}",
    ];
    fixture.policy("players", &rules);
    let mut agent = fixture.enforce(&["server"]);
    for _ in 0..KILLS {
        agent.kill().unwrap();
        (0..EACH).for_each(|_| is_refused(&fixture.client, at(pod.v4(), 80)));
        agent.start().unwrap();
        (0..EACH).for_each(|_| is_refused(&fixture.client, at(pod.v6(), 80)));
    }
    agent.wait_for("the agent runs", |status| {
        status.running() && status.programmed("server")
    });
    only_rejects(&agent, "web", 2 * EACH * KILLS as u64);
    fixture.deliver(&pod, at(pod.v4(), 7777), 50);
    expect_only(&agent, "rest", &[("passed", 50)]);
}
