//! Pods and policies that change under traffic.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use ipnet::{IpNet, Ipv4Net};
use xdp_lab::{Style, UdpReceiver, UdpSender};

use super::fixture;
use crate::{
    fixture::{PATIENCE, PLAYERS, at, counts, expect_counts, only_mark},
    flow::{Flow, Traffic},
};

#[test]
fn a_veth_pair_that_is_recreated_under_traffic_gets_marks_again_and_no_packet_is_misdelivered() {
    let (fixture, mut pod) = fixture(Style::Ptp);
    let other = fixture.pod("other", "game", Style::Ptp, 6);
    let agent = fixture.start(&["server", "other"]);
    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, "0.0.0.0:7777".parse().unwrap()).unwrap();
    let wrong = UdpReceiver::bind(&other.ns, "0.0.0.0:7777".parse().unwrap()).unwrap();
    let before = agent.look().pod("server").unwrap().clone();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sender = UdpSender::new(&fixture.client, to).unwrap();
            while !stop.load(Ordering::Relaxed) {
                // Fails while the pod has no veth pair.
                let _ = sender.send_one();
                thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        let _stop = Stop(&stop);
        inbox.wait_for(100, PATIENCE).unwrap();
        pod.delete_veth().unwrap();
        agent.wait_for("the pod is gone", |status| !status.programmed("server"));
        pod.make_veth().unwrap();
        agent.wait_for("the pod is ready again", |status| status.ready("server"));
        inbox.reset();
        // Earlier datagrams may still be unread.
        let marked = || inbox.received().marks.get(&42).copied().unwrap_or(0);
        xdp_lab::wait_until("marks are back", PATIENCE, || marked() >= 100).unwrap();
    });
    assert_eq!(wrong.received().packets, 0);
    let after = agent.look().pod("server").unwrap().clone();
    for field in ["ifindex", "mac"] {
        assert_ne!(before[field], after[field], "{field}");
    }
    // A last datagram shows that all earlier ones are processed.
    let mut last = UdpSender::new(&fixture.client, to).unwrap();
    last.send_one().unwrap();
    xdp_lab::wait_until("the last one arrives", PATIENCE, || {
        inbox.stream(last.stream()).distinct == 1
    })
    .unwrap();
    inbox.reset();
    only_mark(&fixture.deliver_to(&inbox, to, 100), 42, 100);
}

/// Stops the sending thread if the test fails; otherwise the test would never end.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_rules_of_a_pod_move_to_its_new_address() {
    let (fixture, mut pod) = fixture(Style::Ptp);
    let agent = fixture.start(&["server"]);
    only_mark(&fixture.deliver(&pod, at(pod.v4(), 7777), 50), 42, 50);
    let new = Ipv4Net::new_assert([10, 2, 9, 9].into(), 32);
    pod.set_addresses(&[IpNet::from(new)]).unwrap();
    fixture.manifests.write_pod("server", "game", &pod).unwrap();
    agent.wait_for("only the new address belongs to it", |status| {
        status
            .pod("server")
            .is_some_and(|pod| pod["addresses"] == serde_json::json!(["10.2.9.9"]))
    });
    only_mark(&fixture.deliver(&pod, at(pod.v4(), 7777), 50), 42, 50);

    // The pod that has the old address now is not selected.
    let successor = fixture
        .lab
        .pod(&crate::fixture::spec("successor", Style::Ptp, 5))
        .unwrap();
    only_mark(&fixture.deliver(&successor, at(successor.v4(), 7777), 50), 0, 50);
    // The counters start again if the agent has seen the pod without either address.
    agent.wait_for("nothing else is counted", |status| {
        let found = counts(status, "players");
        found == [100, 100, 0, 0, 0, 0] || found == [50, 50, 0, 0, 0, 0]
    });
}

#[test]
fn rules_apply_to_a_pod_exactly_while_its_manifest_exists_and_is_selected() {
    let (fixture, pod) = fixture(Style::Bridge);
    let agent = fixture.start(&["server"]);
    let to = at(pod.v4(), 7777);
    only_mark(&fixture.deliver(&pod, to, 50), 42, 50);
    expect_counts(&agent, "players", [50, 50, 0, 0, 0, 0]);

    fixture.manifests.remove("server.yaml").unwrap();
    agent.wait_for("the pod is gone", |status| status.pod("server").is_none());
    only_mark(&fixture.deliver(&pod, to, 50), 0, 50);

    fixture.manifests.write_pod("server", "game", &pod).unwrap();
    agent.wait_for("the pod is back", |status| status.ready("server"));
    only_mark(&fixture.deliver(&pod, to, 50), 42, 50);
    // Without a pod, the rule had no counters.
    expect_counts(&agent, "players", [50, 50, 0, 0, 0, 0]);

    fixture.manifests.write_pod("server", "web", &pod).unwrap();
    agent.wait_for("it is not selected any more", |status| {
        status.pod("server").is_none()
    });
    only_mark(&fixture.deliver(&pod, to, 50), 0, 50);
    agent.wait_for("its rule has no counters", |status| !status.has_rule("players"));
}

#[test]
fn a_policy_changes_under_traffic_without_a_lost_packet() {
    let (fixture, pod) = fixture(Style::Ptp);
    let agent = fixture.start(&["server"]);
    let to = at(pod.v4(), 7777);
    let inbox = Arc::new(UdpReceiver::bind(&pod.ns, to).unwrap());
    let traffic = Traffic::new();
    let flow = traffic.add(Flow::new(UdpSender::new(&fixture.client, to).unwrap(), &inbox));
    traffic.more(flow, 100);
    for mark in 43..53 {
        fixture.policy("players", &[&PLAYERS.replace("42", &mark.to_string())]);
        xdp_lab::wait_until("the new mark arrives", PATIENCE, || {
            inbox.received().marks.contains_key(&mark)
        })
        .unwrap();
    }
    let sent = traffic.end(flow);
    let received = inbox.received();
    let stream = &received.streams[&flow];
    assert_eq!((stream.lost(sent), stream.duplicates), (0, 0));
    assert!(received.marks.keys().copied().eq(42..53), "{:?}", received.marks);
    expect_counts(&agent, "players", [sent, sent, 0, 0, 0, 0]);
}

#[test]
fn a_removed_policy_does_not_affect_packets() {
    let (fixture, pod) = fixture(Style::Ptp);
    let agent = fixture.start(&["server"]);
    let to = at(pod.v4(), 7777);
    only_mark(&fixture.deliver(&pod, to, 50), 42, 50);
    fixture.manifests.remove("policy-players.yaml").unwrap();
    let status = agent.wait_for("the policy is gone", |status| status.pod("server").is_none());
    only_mark(&fixture.deliver(&pod, to, 50), 0, 50);
    agent.wait_for("its counters are gone", |status| {
        status.json()["rules"] == serde_json::json!([])
    });
    assert_eq!(status.nic_mode("nic0"), Some("Native"));
}
