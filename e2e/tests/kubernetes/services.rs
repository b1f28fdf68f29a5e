//! Services of selected pods, and connections that selected pods open, together with kube-proxy.

mod connections;
mod paths;

use std::{net::SocketAddr, thread};

use anyhow::ensure;
use xdp_e2e::installed::{ClusterPod, ClusterPodSpec, Installation, Space};
use xdp_kubernetes::{ClusterOptions, Node, Proxy};
use xdp_lab::HttpServer;

use self::{
    connections::OpenConnection,
    paths::{Paths, Protocol, echo, mark, service},
};

const TCP: &str = "{name: web, ports: [{protocol: TCP, port: 8080}], action: Redirect, mark: 43}";
const UDP: &str = "{name: players, ports: [{protocol: UDP, port: 7777}], action: Redirect, mark: 42}";
const ANY: &str = "{name: any, action: Redirect, mark: 44}";
/// Queries as a resolver sends them: each from another port.
const QUERIES: u64 = 100;

/// Creates a pod on each node, each behind its own service, and expects that all paths to them work.
fn behind_services<'a>(installed: &'a Installation, space: &Space<'a>, protocol: Protocol) -> [Paths<'a>; 2] {
    let pods = [
        ClusterPodSpec::new("ptp", "ptp", 1),
        ClusterPodSpec::new("bridge", "bridge", 2),
    ];
    let [ptp, bridge] = space.pods(&pods).unwrap().try_into().unwrap();
    let both = [[&ptp, &bridge], [&bridge, &ptp]];
    let paths = both.map(|pods| Paths::new(installed, space, pods, protocol));
    for paths in &paths {
        paths.expect([Some(0); 5]);
    }
    paths
}

/// Returns the expected marks. The program only sees packets that arrive with the pod's address, not those
/// that the pod's own node translates. The client reaches every ClusterIP through the first node.
fn expected_marks(paths: &Paths<'_>, found: Option<u32>) -> [Option<u32>; 5] {
    let by_cluster_ip = if paths.pod.node.name == "node1" {
        Some(0)
    } else {
        found
    };
    [found, by_cluster_ip, Some(0), found, found]
}

/// Expects that a rule applies on every path through the program, and that all paths still work.
fn all_paths_work_under_a_rule(installed: &Installation, name: &str, protocol: Protocol) {
    let space = installed.space(name).unwrap();
    let all = behind_services(installed, &space, protocol);
    let (rule, mark) = match protocol {
        Protocol::Udp => (UDP, 42),
        Protocol::Tcp => (TCP, 43),
    };
    let before = invalid(installed);
    space.policy_with("game", "podSelector: {}", &[rule]).unwrap();
    space.until_programmed("game", 2).unwrap();
    for paths in &all {
        paths.expect(expected_marks(paths, Some(mark)));
    }
    assert_eq!(
        invalid(installed),
        before,
        "kube-proxy dropped something as INVALID"
    );
}

#[test]
fn udp_is_redirected_directly_by_cluster_ip_and_by_node_port_and_its_replies_arrive() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    all_paths_work_under_a_rule(installed, "services-udp", Protocol::Udp);
}

#[test]
fn tcp_is_redirected_directly_by_cluster_ip_and_by_node_port_and_its_replies_arrive() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    all_paths_work_under_a_rule(installed, "services-tcp", Protocol::Tcp);
}

/// Returns how many packets kube-proxy's rule for state INVALID has dropped on all nodes. It counts packets
/// of all tests, so only tests that run alone may use it. There is no such rule in nftables mode.
pub(crate) fn invalid(installed: &Installation) -> u64 {
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

/// A pod that opens connections to an external server, to a pod of the other node, and to that pod's service.
struct PodClient<'a> {
    pod: ClusterPod<'a>,
    outside: [SocketAddr; 2],
    direct: [SocketAddr; 2],
    service: [SocketAddr; 2],
}

impl PodClient<'_> {
    /// Returns whether each request gets a response: UDP and TCP outside, directly, by ClusterIP.
    fn answers(&self) -> [bool; 6] {
        let [outside, direct, service] = [self.outside, self.direct, self.service];
        thread::scope(|scope| {
            let requests = [outside, direct, service].map(|[udp, tcp]| {
                let udp = scope.spawn(move || self.pod.ask_udp(udp).unwrap().is_some());
                let tcp = scope.spawn(move || self.pod.ask_http(tcp).unwrap().is_some());
                [udp, tcp]
            });
            let [a, b, c] = requests.map(|both| both.map(|requests| requests.join().unwrap()));
            [a[0], a[1], b[0], b[1], c[0], c[1]]
        })
    }

    #[track_caller]
    fn expect(&self, installed: &Installation, expected: [bool; 6]) {
        let what = format!(
            "{} gets responses: UDP, TCP outside, directly, by ClusterIP",
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

/// Creates pods with the label `app: game` on both nodes, and for each a backend on the other node.
fn opening<'a>(
    installed: &'a Installation,
    space: &Space<'a>,
    outside: [SocketAddr; 2],
) -> Vec<PodClient<'a>> {
    let specs = [
        ClusterPodSpec::new("ptp", "game", 1),
        ClusterPodSpec::new("bridge", "game", 2),
        ClusterPodSpec::new("backend2", "backend2", 2),
        ClusterPodSpec::new("backend1", "backend1", 1),
    ];
    let [ptp, bridge, backend2, backend1] = space.pods(&specs).unwrap().try_into().unwrap();
    let own = [(ptp, backend2), (bridge, backend1)].map(|(pod, backend)| {
        let (address, _) = service(installed, space, &backend.name);
        PodClient {
            pod,
            outside,
            direct: [backend.udp(), backend.http()],
            service: [7777, 8080].map(|port| SocketAddr::new(address, port)),
        }
    });
    own.into()
}

/// A rule for everything also matches replies, but these must take the stack: those of a service need NAT.
fn connections_that_a_pod_opens_work(installed: &Installation, name: &str) {
    let space = installed.space(name).unwrap();
    let address = installed.client_addresses().v4;
    let web = HttpServer::start(installed.client(), SocketAddr::from((address, 0))).unwrap();
    let echo = echo(installed.client(), address.into());
    let own = opening(installed, &space, [echo, web.address()]);
    for own in &own {
        own.expect(installed, [true; 6]);
    }
    let selected = "podSelector: {matchLabels: {app: game}}";
    let policies = [
        (selected, &[UDP, TCP][..], 2, 0),
        (selected, &[ANY], 2, 0),
        // Clients and backends are selected.
        ("podSelector: {}", &[ANY], 4, 44),
    ];
    for (selector, rules, pods, seen) in policies {
        let before = invalid(installed);
        space.policy_with("game", selector, rules).unwrap();
        space.until_programmed("game", pods).unwrap();
        for own in &own {
            own.expect(installed, [true; 6]);
            let answered = own.pod.ask_udp_often(own.service[0], QUERIES).unwrap();
            assert_eq!(answered, QUERIES, "{} under {rules:?}", own.pod.name);
            let answer = own.pod.ask_udp(own.service[0]).unwrap();
            assert_eq!(
                mark(answer.as_ref()),
                Some(seen),
                "the mark that the backend sees"
            );
        }
        assert_eq!(
            invalid(installed),
            before,
            "kube-proxy dropped something as INVALID"
        );
    }
}

#[test]
fn connections_that_a_pod_opens_work_under_rules_with_ports_and_under_a_rule_for_everything() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    connections_that_a_pod_opens_work(installed, "services-own");
}

/// Connections opened before a policy continue while it exists and after it is deleted; those opened while it
/// exists continue after it is deleted.
fn connections_continue(installed: &Installation, name: &str) {
    let space = installed.space(name).unwrap();
    let paths = behind_services(installed, &space, Protocol::Tcp);
    let open = || -> Vec<OpenConnection> {
        paths
            .iter()
            .flat_map(|paths| connections::open(installed, paths))
            .collect()
    };
    let before = invalid(installed);
    let mut all = open();
    connections::expect_progress(installed, &all);
    space.policy_with("game", "podSelector: {}", &[ANY]).unwrap();
    space.until_programmed("game", 2).unwrap();
    connections::expect_progress(installed, &all);
    all.extend(open());
    connections::expect_progress(installed, &all);
    space.kubectl(&["delete", "xp", "game"]).unwrap();
    for paths in &paths {
        paths.expect([Some(0); 5]);
    }
    connections::expect_progress(installed, &all);
    assert_eq!(
        invalid(installed),
        before,
        "kube-proxy dropped something as INVALID"
    );
}

#[test]
fn open_connections_on_all_paths_continue_when_a_policy_is_created_and_deleted() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    connections_continue(installed, "services-held");
}

/// Starts another cluster with kube-proxy in nftables mode and plugins that masquerade the pods.
#[test]
fn all_of_it_works_with_kube_proxy_in_nftables_mode_and_with_masquerade() {
    let options = ClusterOptions {
        proxy: Proxy::Nftables,
        masquerade: true,
        ..ClusterOptions::default()
    };
    let _turn = Installation::together();
    let installed = Installation::start_with(options).unwrap();
    thread::scope(|scope| {
        let installed = &installed;
        scope.spawn(|| all_paths_work_under_a_rule(installed, "services-udp", Protocol::Udp));
        scope.spawn(|| all_paths_work_under_a_rule(installed, "services-tcp", Protocol::Tcp));
        scope.spawn(|| connections_that_a_pod_opens_work(installed, "services-own"));
        scope.spawn(|| connections_continue(installed, "services-held"));
    });
}
