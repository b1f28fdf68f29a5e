//! Which rule decides.

use xdp_lab::{LabPod, Style};

use crate::fixture::{Fixture, PLAYERS, at, expect_counts, only_mark};

fn fixture() -> (Fixture, LabPod) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    (fixture, pod)
}

#[test]
fn a_range_of_ports_includes_its_edges_and_nothing_beyond() {
    let (fixture, pod) = fixture();
    let ranges = [
        "{name: low, ports: [{protocol: UDP, port: 7000, endPort: 7010}], action: Redirect, mark: 1}",
        "{name: high, ports: [{protocol: UDP, port: 65000, endPort: 65535}], action: Redirect, mark: 2}",
        "{name: tcp, ports: [{protocol: TCP, port: 6999, endPort: 7011}], action: Redirect, mark: 3}",
    ];
    fixture.policy("players", &ranges);
    let agent = fixture.start(&["server"]);
    for (port, mark) in [
        (6999, 0),
        (7000, 1),
        (7005, 1),
        (7010, 1),
        (7011, 0),
        (64999, 0),
        (65000, 2),
        (65535, 2),
    ] {
        only_mark(&fixture.deliver(&pod, at(pod.v4(), port), 20), mark, 20);
    }
    expect_counts(&agent, "low", [60, 60, 0, 0, 0, 0]);
    expect_counts(&agent, "high", [40, 40, 0, 0, 0, 0]);
    expect_counts(&agent, "tcp", [0; 6]);
}

#[test]
fn of_two_policies_the_one_with_the_lower_priority_number_decides_first() {
    let (fixture, pod) = fixture();
    let with = |priority| format!("podSelector: {{matchLabels: {{app: game}}}}\npriority: {priority}");
    let first = "{name: first, action: Redirect, mark: 1}";
    let second = "{name: second, action: Redirect, mark: 2}";
    fixture.policy_with("a", &with(600), &[first]);
    fixture.policy_with("b", &with(400), &[second]);
    let agent = fixture.start(&["server"]);
    let to = at(pod.v4(), 7777);
    only_mark(&fixture.deliver(&pod, to, 50), 2, 50);

    let before = agent.wait_for("the pod is known", |status| status.ready("server"));
    let generation = |status: &xdp_e2e::Status| status.pod("server").unwrap()["generation"].as_u64();
    fixture.policy_with("a", &with(300), &[first]);
    agent.wait_for("the other order is programmed", |status| {
        generation(status) > generation(&before)
    });
    only_mark(&fixture.deliver(&pod, to, 50), 1, 50);
    expect_counts(&agent, "first", [50, 50, 0, 0, 0, 0]);
    expect_counts(&agent, "second", [50, 50, 0, 0, 0, 0]);
}

#[test]
fn within_a_policy_the_first_rule_that_matches_decides() {
    let (fixture, pod) = fixture();
    let rules = [
        "{name: all-but-one, ports: [{protocol: UDP, port: 0, endPort: 7776}, {protocol: UDP, port: 7778, endPort: 65535}], action: Pass}",
        "{name: rest, action: Redirect, mark: 9}",
    ];
    fixture.policy("players", &rules);
    let agent = fixture.start(&["server"]);
    only_mark(&fixture.deliver(&pod, at(pod.v4(), 7777), 30), 9, 30);
    only_mark(&fixture.deliver(&pod, at(pod.v6(), 7778), 30), 0, 30);
    expect_counts(&agent, "all-but-one", [0, 0, 30, 0, 0, 0]);
    expect_counts(&agent, "rest", [30, 30, 0, 0, 0, 0]);
}

#[test]
fn a_pod_that_no_policy_selects_and_the_node_itself_are_untouched() {
    let (fixture, pod) = fixture();
    let other = fixture.pod("web", "web", Style::Ptp, 6);
    fixture.policy("players", &["{name: all, action: Redirect, mark: 42}"]);
    let agent = fixture.start(&["server"]);
    only_mark(&fixture.deliver(&other, at(other.v4(), 7777), 50), 0, 50);
    only_mark(&fixture.deliver(&other, at(other.v6(), 7777), 50), 0, 50);

    let node = at(fixture.nic.v4, 7777);
    let inbox = xdp_lab::UdpReceiver::bind(fixture.lab.node(), node).unwrap();
    let mut sender = xdp_lab::UdpSender::new(&fixture.client, node).unwrap();
    sender.send(50).unwrap();
    only_mark(&inbox.wait_for(50, crate::fixture::PATIENCE).unwrap(), 0, 50);
    expect_counts(&agent, "all", [0; 6]);
    only_mark(&fixture.deliver(&pod, at(pod.v4(), 7777), 50), 42, 50);
}

#[test]
fn each_pod_has_its_own_rules() {
    let (fixture, pod) = fixture();
    let bridged = fixture.pod("second", "second", Style::Bridge, 6);
    fixture.policy("players", &[PLAYERS]);
    fixture.policy_with(
        "others",
        "podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [game]}]}",
        &["{name: others, action: Redirect, mark: 7}"],
    );
    let agent = fixture.start(&["server", "second"]);
    only_mark(&fixture.deliver(&pod, at(pod.v4(), 7777), 50), 42, 50);
    only_mark(&fixture.deliver(&bridged, at(bridged.v4(), 7777), 50), 7, 50);
    expect_counts(&agent, "players", [50, 50, 0, 0, 0, 0]);
    expect_counts(&agent, "others", [50, 50, 0, 0, 0, 0]);
}
