//! Failed redirects appear in the pod's status by stage and errno, also while no agent runs.

use std::net::SocketAddr;

use xdp_e2e::Agent;
use xdp_lab::{LabPod, Style, UdpSender};

use crate::fixture::{Fixture, PLAYERS, at};

const SENT: u64 = 100;

fn server() -> (Fixture, LabPod) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    (fixture, pod)
}

fn send(fixture: &Fixture, to: SocketAddr, payload: usize) {
    let mut sender = UdpSender::new(&fixture.client, to).unwrap().payload(payload);
    sender.send(SENT).unwrap();
}

/// Waits until all packets show as failed, except those that arrived before.
fn expect(agent: &Agent<'_>, stage: &str, errno: &str, before: u64) {
    let expected = [(stage.to_owned(), errno.to_owned(), SENT)];
    let status = agent.wait_for("all packets show as failed", |status| {
        status.failures("server") == expected
    });
    assert_eq!(
        (
            status.packets("players", "redirected"),
            status.packets("players", "delivered")
        ),
        (SENT + before, before)
    );
}

/// The agent would notice the damage and let the packets pass, so it does not run meanwhile. The flow is open
/// already: without the pod's route, no new one is opened.
fn shows(damage: impl Fn(&Fixture, &LabPod), payload: usize, stage: &str, errno: &str) {
    let (fixture, pod) = server();
    let mut agent = fixture.start(&["server"]);
    let to = at(pod.v4(), 7777);
    let mut sender = UdpSender::new(&fixture.client, to).unwrap().payload(payload);
    sender.send(1).unwrap();
    agent.wait_for("the first packet arrives", |status| {
        status.packets("players", "delivered") == 1
    });
    agent.kill().unwrap();
    damage(&fixture, &pod);
    sender.send(SENT).unwrap();
    expect(&agent, stage, errno, 1);
}

#[test]
fn packets_to_a_pod_whose_eth0_is_down_show_as_enxio_at_the_flush() {
    shows(
        |_, pod| pod.ns.set_up("eth0", false).unwrap(),
        32,
        "flush",
        "ENXIO",
    );
}

#[test]
fn packets_to_a_pod_whose_host_veth_is_down_show_as_enetdown_at_the_redirect() {
    shows(
        |_, pod| pod.set_host_up(false).unwrap(),
        32,
        "redirect",
        "ENETDOWN",
    );
}

#[test]
fn packets_over_the_mtu_of_the_host_veth_show_as_emsgsize_at_the_redirect() {
    shows(
        |_, pod| pod.set_host_mtu(576).unwrap(),
        1000,
        "redirect",
        "EMSGSIZE",
    );
}

/// As with a full ring, the kernel reports no errno.
#[test]
fn packets_over_the_mtu_of_eth0_show_without_errno_at_the_flush() {
    shows(|_, pod| pod.set_mtu(576).unwrap(), 1000, "flush", "");
}

#[test]
fn gro_switched_off_shows_as_eopnotsupp_until_an_agent_repairs_it() {
    let (fixture, pod) = server();
    let mut agent = fixture.start(&["server"]);
    agent.kill().unwrap();
    pod.set_gro(false).unwrap();
    let to = at(pod.v4(), 7777);
    send(&fixture, to, 32);
    expect(&agent, "redirect", "EOPNOTSUPP", 0);

    agent.start().unwrap();
    xdp_lab::wait_until("GRO is on", crate::fixture::PATIENCE, || pod.gro().unwrap()).unwrap();
    assert_eq!(
        fixture.deliver(&pod, to, SENT).marks.keys().collect::<Vec<_>>(),
        [&42]
    );
}

#[test]
fn a_pod_that_gets_the_slot_later_has_none_of_its_predecessors_failures() {
    let (fixture, pod) = server();
    let mut agent = fixture.start(&["server"]);
    agent.kill().unwrap();
    pod.set_gro(false).unwrap();
    send(&fixture, at(pod.v4(), 7777), 32);
    expect(&agent, "redirect", "EOPNOTSUPP", 0);
    let slot = agent.look().pod("server").unwrap()["slot"].clone();

    agent.start().unwrap();
    pod.remove().unwrap();
    fixture.manifests.remove("server.yaml").unwrap();
    agent.wait_for("the pod is gone", |status| status.pod("server").is_none());
    let _next = fixture.pod("next", "game", Style::Ptp, 6);
    let status = agent.wait_for("its successor is ready", |status| status.ready("next"));
    assert_eq!(status.pod("next").unwrap()["slot"], slot);
    assert_eq!(status.failures("next"), []);
}
