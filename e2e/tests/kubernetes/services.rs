//! Services of covered pods, and what covered pods open themselves, beside kube-proxy.

mod held;
mod ways;

use std::{net::SocketAddr, thread};

use anyhow::ensure;
use xdp_e2e::installed::{Installed, Pod, PodSpec, Space};
use xdp_kubernetes::{ClusterOptions, Node, Proxy};
use xdp_lab::HttpServer;

use self::{
    held::Held,
    ways::{Protocol, Ways, echo, mark, service},
};

const TCP: &str = "{name: web, ports: [{protocol: TCP, port: 8080}], action: Redirect, mark: 43}";
const UDP: &str = "{name: players, ports: [{protocol: UDP, port: 7777}], action: Redirect, mark: 42}";
const ANY: &str = "{name: any, action: Redirect, mark: 44}";
/// As a resolver asks: each from another port.
const QUERIES: u64 = 100;

/// A pod on each node, each behind a service of its own, and the ways to it, which all work.
fn behind_services<'a>(installed: &'a Installed, space: &Space<'a>, protocol: Protocol) -> [Ways<'a>; 2] {
    let pods = [PodSpec::new("ptp", "ptp", 1), PodSpec::new("bridge", "bridge", 2)];
    let [ptp, bridge] = space.pods(&pods).unwrap().try_into().unwrap();
    let both = [[&ptp, &bridge], [&bridge, &ptp]];
    let ways = both.map(|pods| Ways::new(installed, space, pods, protocol));
    for ways in &ways {
        ways.expect([Some(0); 5]);
    }
    ways
}

/// Only what reaches the pod's node with the pod's address meets the program: not what that node itself translates.
/// The client's way to every ClusterIP is the first node.
fn fast(ways: &Ways<'_>, found: Option<u32>) -> [Option<u32>; 5] {
    let by_cluster_ip = if ways.pod.node.name == "node1" {
        Some(0)
    } else {
        found
    };
    [found, by_cluster_ip, Some(0), found, found]
}

/// A rule takes what it is for by every way on which it meets the program, and all ways go on working.
fn all_ways_work_under_a_rule(installed: &Installed, name: &str, protocol: Protocol) {
    let space = installed.space(name).unwrap();
    let all = behind_services(installed, &space, protocol);
    let (rule, mark) = match protocol {
        Protocol::Udp => (UDP, 42),
        Protocol::Tcp => (TCP, 43),
    };
    let before = invalid(installed);
    space.policy_with("game", "podSelector: {}", &[rule]).unwrap();
    space.until_programmed("game", 2).unwrap();
    for ways in &all {
        ways.expect(fast(ways, Some(mark)));
    }
    assert_eq!(
        invalid(installed),
        before,
        "kube-proxy dropped something as INVALID"
    );
}

#[test]
fn udp_is_redirected_directly_by_cluster_ip_and_by_node_port_and_its_answers_come_back() {
    let installed = Installed::shared();
    let _turn = installed.alone();
    all_ways_work_under_a_rule(installed, "services-udp", Protocol::Udp);
}

#[test]
fn tcp_is_redirected_directly_by_cluster_ip_and_by_node_port_and_its_answers_come_back() {
    let installed = Installed::shared();
    let _turn = installed.alone();
    all_ways_work_under_a_rule(installed, "services-tcp", Protocol::Tcp);
}

/// Packets that kube-proxy's rule for INVALID ones has dropped on all nodes, whoever's they were: it is for tests that run
/// alone. There is none in nftables mode.
pub(crate) fn invalid(installed: &Installed) -> u64 {
    let of = |node: &Node| {
        let rules = node
            .exec_ok(&["iptables", "-w", "-t", "filter", "-nvxL"])
            .unwrap();
        let rule = rules.lines().find(|line| line.contains("INVALID"));
        let packets = rule.and_then(|rule| rule.split_whitespace().next());
        packets.map_or(0, |packets| packets.parse::<u64>().unwrap())
    };
    installed.nodes().iter().map(of).sum()
}

/// What a pod opens itself: to a server outside, to a pod of the other node, and to that pod's service.
struct Own<'a> {
    pod: Pod<'a>,
    outside: [SocketAddr; 2],
    direct: [SocketAddr; 2],
    service: [SocketAddr; 2],
}

impl Own<'_> {
    /// Whether each gets an answer: UDP and TCP outside, directly, by ClusterIP.
    fn answers(&self) -> [bool; 6] {
        let [outside, direct, service] = [self.outside, self.direct, self.service];
        thread::scope(|scope| {
            let asked = [outside, direct, service].map(|[udp, tcp]| {
                let udp = scope.spawn(move || self.pod.ask_udp(udp).unwrap().is_some());
                let tcp = scope.spawn(move || self.pod.ask_http(tcp).unwrap().is_some());
                [udp, tcp]
            });
            let [a, b, c] = asked.map(|both| both.map(|asked| asked.join().unwrap()));
            [a[0], a[1], b[0], b[1], c[0], c[1]]
        })
    }

    #[track_caller]
    fn expect(&self, installed: &Installed, expected: [bool; 6]) {
        let what = format!(
            "{} gets answers: UDP, TCP outside, directly, by ClusterIP",
            self.pod.name
        );
        let found = installed.until(what, || {
            let found = self.answers();
            ensure!(found == expected, "{found:?}, not {expected:?}");
            Ok(())
        });
        found.unwrap();
    }
}

/// Pods with label `app: game` on both nodes, and for each a backend on the other one.
fn opening<'a>(installed: &'a Installed, space: &Space<'a>, outside: [SocketAddr; 2]) -> Vec<Own<'a>> {
    let specs = [
        PodSpec::new("ptp", "game", 1),
        PodSpec::new("bridge", "game", 2),
        PodSpec::new("backend2", "backend2", 2),
        PodSpec::new("backend1", "backend1", 1),
    ];
    let [ptp, bridge, backend2, backend1] = space.pods(&specs).unwrap().try_into().unwrap();
    let own = [(ptp, backend2), (bridge, backend1)].map(|(pod, backend)| {
        let (address, _) = service(installed, space, &backend.name);
        Own {
            pod,
            outside,
            direct: [backend.udp(), backend.http()],
            service: [7777, 8080].map(|port| SocketAddr::new(address, port)),
        }
    });
    own.into()
}

/// Answers match a rule for everything, too, and yet are the stack's: a service's have to be translated back.
fn what_a_pod_opens_itself_works(installed: &Installed, name: &str) {
    let space = installed.space(name).unwrap();
    let address = installed.client_addresses().v4;
    let web = HttpServer::start(installed.client(), SocketAddr::from((address, 0))).unwrap();
    let echo = echo(installed.client(), address.into());
    let own = opening(installed, &space, [echo, web.address()]);
    for own in &own {
        own.expect(installed, [true; 6]);
    }
    let selected = "podSelector: {matchLabels: {app: game}}";
    let rounds = [
        (selected, &[UDP, TCP][..], 2, 0),
        (selected, &[ANY], 2, 0),
        // On both sides.
        ("podSelector: {}", &[ANY], 4, 44),
    ];
    for (selector, rules, pods, seen) in rounds {
        let before = invalid(installed);
        space.policy_with("game", selector, rules).unwrap();
        space.until_programmed("game", pods).unwrap();
        for own in &own {
            own.expect(installed, [true; 6]);
            let answered = own.pod.ask_udp_often(own.service[0], QUERIES).unwrap();
            assert_eq!(answered, QUERIES, "{} under {rules:?}", own.pod.name);
            let answer = own.pod.ask_udp(own.service[0]).unwrap();
            assert_eq!(mark(answer.as_ref()), Some(seen), "what the backend sees");
        }
        assert_eq!(
            invalid(installed),
            before,
            "kube-proxy dropped something as INVALID"
        );
    }
}

#[test]
fn what_a_pod_opens_itself_works_under_rules_with_ports_and_under_one_for_everything() {
    let installed = Installed::shared();
    let _turn = installed.alone();
    what_a_pod_opens_itself_works(installed, "services-own");
}

/// Before there is a policy, under it and after its end; and those that are opened under it, after its end.
fn connections_go_on(installed: &Installed, name: &str) {
    let space = installed.space(name).unwrap();
    let ways = behind_services(installed, &space, Protocol::Tcp);
    let open = || -> Vec<Held> { ways.iter().flat_map(|ways| held::open(installed, ways)).collect() };
    let before = invalid(installed);
    let mut all = open();
    held::go_on(installed, &all);
    space.policy_with("game", "podSelector: {}", &[ANY]).unwrap();
    space.until_programmed("game", 2).unwrap();
    held::go_on(installed, &all);
    all.extend(open());
    held::go_on(installed, &all);
    space.kubectl(&["delete", "xp", "game"]).unwrap();
    for ways in &ways {
        ways.expect([Some(0); 5]);
    }
    held::go_on(installed, &all);
    assert_eq!(
        invalid(installed),
        before,
        "kube-proxy dropped something as INVALID"
    );
}

#[test]
fn connections_held_together_by_all_ways_go_on_when_a_policy_comes_and_when_it_goes() {
    let installed = Installed::shared();
    let _turn = installed.alone();
    connections_go_on(installed, "services-held");
}

/// Another cluster: kube-proxy's successor, and the plugins hide the pods' addresses.
#[test]
fn all_of_it_works_beside_kube_proxy_in_nftables_mode_and_behind_masquerade() {
    let options = ClusterOptions {
        proxy: Proxy::Nftables,
        masquerade: true,
        ..ClusterOptions::default()
    };
    let _turn = Installed::together();
    let installed = Installed::start_with(options).unwrap();
    thread::scope(|scope| {
        let installed = &installed;
        scope.spawn(|| all_ways_work_under_a_rule(installed, "services-udp", Protocol::Udp));
        scope.spawn(|| all_ways_work_under_a_rule(installed, "services-tcp", Protocol::Tcp));
        scope.spawn(|| what_a_pod_opens_itself_works(installed, "services-own"));
        scope.spawn(|| connections_go_on(installed, "services-held"));
    });
}
