//! Real packets through the data path: what arrives, with which mark, and which counter counts it.

mod matching;
mod paths;
mod raw;
mod tcp;

use std::net::IpAddr;

use xdp_lab::{Datagrams, Style, UdpReceiver, UdpSender};

use crate::fixture::{Fixture, IN_FLIGHT, PLAYERS, all_arrive, at, expect_counts, only_mark};

fn redirected_udp_carries_its_mark(style: Style) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", style, 5);
    fixture.policy("players", &[PLAYERS]);
    let agent = fixture.start(&["server"]);
    for ip in pod.addresses() {
        only_mark(&fixture.deliver(&pod, at(ip, 7777), 500), 42, 500);
    }
    expect_counts(&agent, "players", [1000, 1000, 0, 0, 0, 0]);
}

#[test]
fn redirected_udp_carries_its_mark_into_a_pod_with_a_host_route() {
    redirected_udp_carries_its_mark(Style::Ptp);
}

#[test]
fn redirected_udp_carries_its_mark_into_a_pod_on_a_bridge() {
    redirected_udp_carries_its_mark(Style::Bridge);
}

/// Programs a rule, sends 200 datagrams, which an empty ring holds, and waits until the rule's counters are
/// `expected`.
fn under_rule(spec: &str, rule: &str, expected: [u64; 6]) -> Datagrams {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy_with("players", spec, &[rule]);
    let agent = fixture.start(&[]);
    agent.wait_for("the rule is programmed", |status| status.programmed("server"));
    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    let mut sender = UdpSender::new(&fixture.client, to).unwrap();
    if expected[3] == 0 {
        all_arrive(&mut sender, &inbox, 200, IN_FLIGHT);
    } else {
        sender.send(200).unwrap();
    }
    expect_counts(&agent, "rule", expected);
    inbox.received()
}

const GAME: &str = "podSelector: {matchLabels: {app: game}}";

#[test]
fn dropped_packets_never_arrive_and_are_all_counted() {
    let received = under_rule(GAME, "{name: rule, action: Drop}", [0, 0, 0, 200, 0, 0]);
    assert_eq!(received.packets, 0);
}

#[test]
fn passed_packets_arrive_without_a_mark_and_are_all_counted() {
    let received = under_rule(GAME, "{name: rule, action: Pass}", [0, 0, 200, 0, 0, 0]);
    only_mark(&received, 0, 200);
}

#[test]
fn an_audited_drop_arrives_and_is_counted_as_audited_only() {
    let spec = format!("{GAME}\nenforcement: Audit");
    let received = under_rule(&spec, "{name: rule, action: Drop}", [0, 0, 0, 0, 200, 0]);
    only_mark(&received, 0, 200);
}

#[test]
fn an_audited_redirect_arrives_by_the_stack() {
    let spec = format!("{GAME}\nenforcement: Audit");
    let rule = "{name: rule, action: Redirect, mark: 42}";
    only_mark(&under_rule(&spec, rule, [0, 0, 0, 0, 200, 0]), 0, 200);
}

#[test]
fn packets_without_a_matching_rule_are_untouched_and_not_counted() {
    let rule = "{name: rule, ports: [{protocol: UDP, port: 7778}], action: Drop}";
    only_mark(&under_rule(GAME, rule, [0; 6]), 0, 200);
}

#[test]
fn an_excepted_source_does_not_match_and_its_neighbours_do() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    let sources: [IpAddr; 3] = ["198.51.100.7", "198.51.100.8", "198.51.101.7"].map(|ip| ip.parse().unwrap());
    for source in sources {
        fixture.nic.add_client_address(source).unwrap();
    }
    let peers = "[{ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.8/32]}}]";
    let rule = format!("{{name: some, from: {peers}, action: Redirect, mark: 42}}");
    fixture.policy("players", &[&rule]);
    let agent = fixture.start(&["server"]);

    let to = at(pod.v4(), 7777);
    for (source, mark) in sources.into_iter().zip([42, 0, 0]) {
        let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
        let mut sender = UdpSender::from(&fixture.client, at(source, 0), to).unwrap();
        all_arrive(&mut sender, &inbox, 100, IN_FLIGHT);
        let received = inbox.received();
        only_mark(&received, mark, 100);
        assert_eq!(received.sources.get(&source), Some(&100));
    }
    expect_counts(&agent, "some", [100, 100, 0, 0, 0, 0]);
}
