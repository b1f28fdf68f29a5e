//! Large policies: the first and the last item match, their neighbours do not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xdp_e2e::Agent;
use xdp_lab::{LabPod, Style, UdpReceiver, UdpSender};

use crate::fixture::{Fixture, PATIENCE, at, only_mark};

fn fixture() -> (Fixture, LabPod) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    (fixture, pod)
}

fn no_problem(agent: &Agent<'_>) {
    agent.wait_for("there is no problem", |status| {
        status.json()["problems"].as_array().is_some_and(Vec::is_empty)
    });
}

/// Returns the mark with which datagrams from this address arrive.
fn mark_of(fixture: &Fixture, pod: &LabPod, from: IpAddr, port: u16) -> u32 {
    fixture.nic.add_client_address(from).unwrap();
    let to = at(if from.is_ipv4() { pod.v4() } else { pod.v6() }, port);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    let mut sender = UdpSender::from(&fixture.client, at(from, 0), to).unwrap();
    sender.send(3).unwrap();
    let received = inbox.wait_for(3, PATIENCE).unwrap();
    assert_eq!(received.marks.len(), 1, "{received:?}");
    *received.marks.keys().next().unwrap()
}

#[test]
fn three_policies_with_250_rules_decide_in_order_of_priority() {
    let (fixture, pod) = fixture();
    let rule = |number: u16, mark: u16| {
        format!(
            "{{name: r{number}, ports: [{{protocol: UDP, port: {number}}}], action: Redirect, mark: {mark}}}"
        )
    };
    // Consecutive ranges overlap by ten ports: the earlier policy decides there.
    let ranges = [
        ("c", 10, 1000..=1083),
        ("a", 20, 1074..=1166),
        ("b", 30, 1157..=1229),
    ];
    let mut all = 0;
    for (index, (name, priority, ports)) in (1..).zip(ranges) {
        let rules: Vec<String> = ports.map(|port| rule(port, index * 10_000 + port)).collect();
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        all += rules.len();
        let spec = format!("podSelector: {{matchLabels: {{app: game}}}}\npriority: {priority}");
        fixture.policy_with(name, &spec, &rules);
    }
    assert_eq!(all, 250);
    let wide = ["--allowed-mark-mask", "0xffff"];
    let mut agent = Agent::new(&fixture.lab, &fixture.manifests).arguments(&wide);
    agent.start().unwrap();
    agent.wait_for("the pod is ready", |status| status.ready("server"));
    no_problem(&agent);
    for (port, mark) in [
        (999, 0),
        (1000, 11_000),
        (1042, 11_042),
        (1083, 11_083),
        (1084, 21_084),
        (1166, 21_166),
        (1167, 31_167),
        (1229, 31_229),
        (1230, 0),
    ] {
        only_mark(&fixture.deliver(&pod, at(pod.v4(), port), 5), mark, 5);
        only_mark(&fixture.deliver(&pod, at(pod.v6(), port), 5), mark, 5);
    }
}

/// Rules of 64 sources each, the API's maximum.
fn rules_of(peers: &[String], mark: u32) -> Vec<String> {
    let rule = |(number, peers): (usize, &[String])| {
        let from: Vec<String> = peers
            .iter()
            .map(|cidr| format!("{{ipBlock: {{cidr: \"{cidr}\"}}}}"))
            .collect();
        let from = from.join(", ");
        format!("{{name: r{mark}-{number}, from: [{from}], action: Redirect, mark: {mark}}}")
    };
    peers.chunks(64).enumerate().map(rule).collect()
}

#[test]
fn a_policy_with_2000_networks_matches_each_and_nothing_between_them() {
    const NETWORKS: u32 = 1000;
    let (fixture, pod) = fixture();
    // Every other /28 of 20.0.0.0, and every other /64 of 2001:db8::/32.
    let v4 = |number: u32| Ipv4Addr::from(0x1400_0000 + 32 * number);
    let v6 = |number: u32| Ipv6Addr::from((0x2001_0db8 << 96) | (u128::from(2 * number) << 64));
    let networks: Vec<String> = (0..NETWORKS).map(|number| format!("{}/28", v4(number))).collect();
    let networks_v6: Vec<String> = (0..NETWORKS).map(|number| format!("{}/64", v6(number))).collect();
    let rules = [rules_of(&networks, 4), rules_of(&networks_v6, 6)].concat();
    fixture.policy("players", &rules.iter().map(String::as_str).collect::<Vec<_>>());
    let agent = fixture.start(&["server"]);
    no_problem(&agent);
    for number in [0, 1, 499, NETWORKS - 1] {
        let [first, last] = [0, 15].map(|host| IpAddr::from(Ipv4Addr::from(u32::from(v4(number)) + host)));
        let [before, after] =
            [u32::MAX, 16].map(|host| IpAddr::from(Ipv4Addr::from(u32::from(v4(number)).wrapping_add(host))));
        for (from, mark) in [(first, 4), (last, 4), (before, 0), (after, 0)] {
            assert_eq!(mark_of(&fixture, &pod, from, 7777), mark, "{from}");
        }
        let base = u128::from(v6(number));
        for (address, mark) in [
            (base + 1, 6),
            (base | u128::from(u64::MAX), 6),
            (base - 1, 0),
            (base + (1 << 64), 0),
        ] {
            let from = IpAddr::from(Ipv6Addr::from(address));
            assert_eq!(mark_of(&fixture, &pod, from, 7777), mark, "{from}");
        }
    }
}

#[test]
fn a_list_of_4096_addresses_matches_its_first_and_last_and_not_their_neighbours() {
    const ADDRESSES: u32 = 4096;
    let (fixture, pod) = fixture();
    // Every third address: none merges with the next.
    let address = |number: u32| Ipv4Addr::from(0x1500_0001 + 3 * number);
    let list: Vec<String> = (0..ADDRESSES)
        .map(|number| format!("{}/32", address(number)))
        .collect();
    let rules = rules_of(&list, 4);
    fixture.policy("players", &rules.iter().map(String::as_str).collect::<Vec<_>>());
    let agent = fixture.start(&["server"]);
    no_problem(&agent);
    for number in [0, 1, 2047, ADDRESSES - 1] {
        let own = u32::from(address(number));
        for (from, mark) in [(own - 1, 0), (own, 4), (own + 1, 0)] {
            let from = IpAddr::from(Ipv4Addr::from(from));
            assert_eq!(mark_of(&fixture, &pod, from, 7777), mark, "{from}");
        }
    }
}

#[test]
fn a_network_with_excepts_matches_exactly_the_rest() {
    let (fixture, pod) = fixture();
    let peer =
        "{ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.0/30, 198.51.100.64/26, 198.51.100.255/32]}}";
    let rules = [format!(
        "{{name: some, from: [{peer}], action: Redirect, mark: 4}}"
    )];
    fixture.policy("players", &[&rules[0]]);
    let _agent = fixture.start(&["server"]);
    for (host, mark) in [
        (3, 0),
        (4, 4),
        (63, 4),
        (64, 0),
        (127, 0),
        (128, 4),
        (254, 4),
        (255, 0),
    ] {
        let from = IpAddr::from([198, 51, 100, host]);
        assert_eq!(mark_of(&fixture, &pod, from, 7777), mark, "{from}");
    }
}
