//! Marks are set under the administrator's mask.

use xdp_lab::{LabPod, Style, UdpReceiver, wait_until};

use super::{DELIVERIES, policy, start, wait};
use crate::fixture::{Fixture, PATIENCE, PLAYERS, at};

/// Waits until every datagram to the pod arrives with this mark, by both families.
fn arrive_with(fixture: &Fixture, pod: &LabPod, mark: u32) {
    for ip in pod.addresses() {
        let to = at(ip, 7777);
        let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
        let mut seen = Vec::new();
        let all = wait_until("all datagrams have the mark", PATIENCE, || {
            inbox.reset();
            let received = fixture.deliver_to(&inbox, to, 20);
            seen = received.marks.keys().copied().collect();
            seen == [mark]
        });
        all.unwrap_or_else(|error| panic!("{ip}: {error}: {seen:x?} instead of {mark:#x}"));
    }
}

#[test]
fn a_mark_arrives_with_any_mask_that_has_its_bits() {
    for delivery in DELIVERIES {
        let fixture = Fixture::new();
        let pod = fixture.pod("server", "game", Style::Ptp, 5);
        policy(&fixture, delivery, &[PLAYERS]);
        let mut agent = start(&fixture, &[]);
        arrive_with(&fixture, &pod, 42);

        agent.stop().unwrap();
        let wider = ["--allowed-mark-mask", "0xff00ffff"];
        let _agent = start(&fixture, &wider);
        arrive_with(&fixture, &pod, 42);
    }
}

#[test]
fn a_mark_outside_the_mask_is_refused_by_name_and_affects_no_other_policy() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    policy(&fixture, "Redirect", &[PLAYERS]);
    let istio = "{name: all, action: Redirect, mark: 1337}";
    fixture.policy_with("istio", "podSelector: {}\npriority: 0", &[istio]);
    let mut agent = start(&fixture, &[]);
    let status = agent.wait_for("the mark is refused", |status| {
        status
            .problem("XdpPolicy games/istio", "MarkNotAllowed")
            .is_some()
    });
    let problem = status.problem("XdpPolicy games/istio", "MarkNotAllowed").unwrap();
    let message = problem["message"].as_str().unwrap();
    assert!(
        message.contains("policy-istio.yaml:8: `spec.ingress[0].mark` is `1337`"),
        "{message}"
    );
    assert!(
        message.contains("0x500 are outside the administrator's mask 0x7f"),
        "{message}"
    );
    arrive_with(&fixture, &pod, 42);

    agent.stop().unwrap();
    let agent = start(&fixture, &["--allowed-mark-mask", "0xffffffff"]);
    agent.wait_for("the mark is allowed", |status| {
        status
            .problem("XdpPolicy games/istio", "MarkNotAllowed")
            .is_none()
    });
    arrive_with(&fixture, &pod, 1337);
}

#[test]
fn a_refused_new_version_leaves_the_version_before() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    policy(&fixture, "Redirect", &[PLAYERS]);
    let agent = start(&fixture, &[]);
    policy(
        &fixture,
        "Redirect",
        &["{name: all, action: Redirect, mark: 128}"],
    );
    agent.wait_for("the mark is refused", |status| {
        status
            .problem("XdpPolicy games/players", "MarkNotAllowed")
            .is_some()
    });
    wait(&agent);
    arrive_with(&fixture, &pod, 42);
}
