//! Pods that are temporarily not ready for redirects, and pods and policies that change.

mod changes;

use std::process::Command;

use xdp_e2e::{Agent, Status};
use xdp_lab::{LabPod, Style, UdpReceiver, UdpSender};

use crate::fixture::{Fixture, PATIENCE, PLAYERS, at, counts, only_mark};

fn fixture(style: Style) -> (Fixture, LabPod) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", style, 5);
    fixture.policy("players", &[PLAYERS]);
    (fixture, pod)
}

/// Waits until the pod is not ready for this reason, and until a problem with the interface's name and a
/// remedy exists.
#[track_caller]
fn not_ready(agent: &Agent<'_>, reason: &str, interface: &str) -> Status {
    let status = agent.wait_for(&format!("the pod is not ready: {reason}"), |status| {
        status
            .pod("server")
            .is_some_and(|pod| pod["readiness"]["reason"] == reason)
    });
    let message = status.pod("server").unwrap()["readiness"]["message"].to_string();
    assert!(message.contains(interface), "{message}");
    let status = agent.wait_for("it is a problem", |status| {
        status.problem("Pod games/server", reason).is_some()
    });
    let problem = status.problem("Pod games/server", reason).unwrap();
    assert!(problem["message"].to_string().contains(interface), "{problem}");
    assert!(!problem["remedy"].as_str().unwrap().is_empty(), "{problem}");
    status
}

#[track_caller]
fn ready_again(fixture: &Fixture, agent: &Agent<'_>, pod: &LabPod) {
    agent.wait_for("the pod is ready again", |status| {
        status.ready("server") && status.problem("Pod games/server", "LinkDown").is_none()
    });
    only_mark(&fixture.deliver(pod, at(pod.v4(), 7777), 100), 42, 100);
    only_mark(&fixture.deliver(pod, at(pod.v6(), 7777), 100), 42, 100);
}

#[track_caller]
fn falls_back_while_down(fixture: &Fixture, agent: &Agent<'_>, pod: &LabPod) {
    let to = at(pod.v4(), 7777);
    let before = counts(&agent.look(), "players");
    UdpSender::new(&fixture.client, to).unwrap().send(50).unwrap();
    let status = agent.wait_for("packets fall back", |status| {
        counts(status, "players")[5] == before[5] + 50
    });
    assert_eq!(counts(&status, "players")[0], before[0], "none is redirected");
    assert_eq!(status.json()["fallbacks"]["NotReady"], before[5] + 50);
}

#[test]
fn rules_fall_back_while_the_pods_interface_is_down() {
    let (fixture, pod) = fixture(Style::Ptp);
    let agent = fixture.start(&["server"]);
    pod.set_up(false).unwrap();
    not_ready(&agent, "LinkDown", "eth0");
    falls_back_while_down(&fixture, &agent, &pod);
    pod.set_up(true).unwrap();
    ready_again(&fixture, &agent, &pod);
}

#[test]
fn rules_fall_back_while_the_host_side_veth_is_down() {
    let (fixture, pod) = fixture(Style::Bridge);
    let agent = fixture.start(&["server"]);
    pod.set_host_up(false).unwrap();
    not_ready(&agent, "LinkDown", &pod.host_interface);
    falls_back_while_down(&fixture, &agent, &pod);
    pod.set_host_up(true).unwrap();
    ready_again(&fixture, &agent, &pod);
}

#[test]
fn a_drop_rule_applies_while_the_pod_is_not_ready() {
    let (fixture, pod) = fixture(Style::Ptp);
    fixture.policy("players", &[PLAYERS, "{name: rest, action: Drop}"]);
    let agent = fixture.start(&["server"]);
    pod.set_up(false).unwrap();
    not_ready(&agent, "LinkDown", "eth0");
    UdpSender::new(&fixture.client, at(pod.v4(), 9))
        .unwrap()
        .send(50)
        .unwrap();
    agent.wait_for("they are dropped", |status| {
        status.packets("rest", "dropped") == 50
    });
}

/// Until the agent has switched GRO on again, redirected packets are lost. The reader and the tracepoints
/// count them.
#[test]
fn gro_that_is_switched_off_is_switched_on_again_and_every_loss_is_counted() {
    let (fixture, pod) = fixture(Style::Ptp);
    let agent = fixture.start(&["server"]);
    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    let mut sender = UdpSender::new(&fixture.client, to).unwrap();
    for _ in 0..5 {
        pod.set_gro(false).unwrap();
        // An empty ring holds all of them, even on a busy machine.
        sender.send_paced(200, 4000).unwrap();
        xdp_lab::wait_until("GRO is on again", PATIENCE, || pod.gro().unwrap()).unwrap();
    }
    let sent = sender.sent();
    agent.wait_for("every packet is accounted for", |status| {
        let received = inbox.received();
        let [redirected, delivered, _, _, _, fell_back] = counts(status, "players");
        let failed: u64 = status
            .failures("server")
            .iter()
            .map(|(_, _, packets)| packets)
            .sum();
        redirected + fell_back == sent
            && delivered + failed == redirected
            && received.packets == delivered + fell_back
    });
    agent.wait_for("the pod is ready", |status| status.ready("server"));
    inbox.reset();
    sender.send(100).unwrap();
    only_mark(&inbox.wait_for(100, PATIENCE).unwrap(), 42, 100);
}

/// Detaches a pinned link, as an administrator can; the pin stays.
fn detach(fixture: &Fixture, pin: &str) {
    let mut command = Command::new("bpftool");
    let path = fixture.pins().join("links").join(pin);
    command.args(["link", "detach", "pinned"]).arg(path);
    let finished = fixture
        .lab
        .node()
        .spawn(command)
        .unwrap()
        .finish(PATIENCE)
        .unwrap();
    assert!(finished.status.success(), "{finished:?}");
}

#[test]
fn a_detached_program_is_attached_again_by_the_next_reconcile() {
    let (fixture, pod) = fixture(Style::Ptp);
    let mut agent = fixture.start(&["server"]);
    let to = at(pod.v4(), 7777);
    only_mark(&fixture.deliver(&pod, to, 20), 42, 20);
    for pin in [
        format!("reader-{}", pod.host_ifindex),
        format!("nic-{}", fixture.nic.ifindex),
    ] {
        // A running agent may attach it before the test checks.
        agent.stop().unwrap();
        detach(&fixture, &pin);
        only_mark(&fixture.deliver(&pod, to, 20), 0, 20);
        agent.start().unwrap();
        let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
        let mut sender = UdpSender::new(&fixture.client, to).unwrap();
        xdp_lab::wait_until("marks are back", PATIENCE, || {
            sender.send_one().unwrap();
            inbox.received().marks.contains_key(&42)
        })
        .unwrap_or_else(|error| panic!("{pin}: {error}\n{}", agent.log()));
    }
}
