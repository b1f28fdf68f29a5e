//! Whatever is certainly allowed is allowed by the matcher of cyclonus, which shares no line with this
//! project; and what both can know for sure, they agree about.
//!
//! Each case asks about 1,140 packets (6 pods, 19 sources, 2 protocols, 5 ports): all cases about 228,000.
//! Only policies of `networking.k8s.io` are there, because the matcher knows no others.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../../../../agent/plan/tests/network_policy/fixture.rs"]
#[allow(dead_code, reason = "it is shared with the tests of the evaluation")]
mod fixture;
#[path = "../../../../agent/plan/tests/network_policy/random.rs"]
#[allow(dead_code, reason = "it is shared with the tests of the evaluation")]
mod random;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::IpAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use xdp_plan::{network_policy::Certainty, policy::Protocol};

use self::{
    fixture::{Cluster, NODES, OUTSIDE, as_pod, text},
    random::{Elements, policies},
};

const CASES: usize = 100;
const PROTOCOLS: [(Protocol, &str); 2] = [(Protocol::Tcp, "TCP"), (Protocol::Udp, "UDP")];
const PORTS: [u16; 5] = [53, 80, 81, 443, 8080];

/// The matcher, as a process that answers line by line.
struct Matcher {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Matcher {
    fn start() -> Self {
        let mut process = Command::new(xdp_kubernetes::programs().unwrap().join("matcher"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let questions = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            questions,
            answers,
        }
    }

    /// Returns whether each packet is allowed.
    fn ask(&mut self, cluster: &Cluster, packets: &[Packet]) -> Vec<bool> {
        let packets = packets.iter().map(|packet| {
            json!({
                "target": packet.target, "source": packet.source, "protocol": packet.protocol.1,
                "port": packet.port,
            })
        });
        let question = json!({
            "namespaces": cluster.namespaces, "pods": cluster.pods, "policies": cluster.policies,
            "packets": packets.collect::<Vec<Value>>(),
        });
        writeln!(self.questions.as_ref().unwrap(), "{question}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().bytes().map(|one| one == b'1').collect()
    }
}

impl Drop for Matcher {
    fn drop(&mut self) {
        // It ends when there are no more questions.
        drop(self.questions.take());
        drop(self.process.wait());
    }
}

/// A packet to the pod with this index.
#[derive(Debug)]
struct Packet {
    target: usize,
    source: IpAddr,
    protocol: (Protocol, &'static str),
    port: u16,
}

fn packets(cluster: &Cluster) -> Vec<Packet> {
    let of_pods = cluster
        .pods
        .iter()
        .flat_map(|pod| pod["status"]["podIPs"].as_array().unwrap());
    let of_pods = of_pods.map(|ip| text(&ip["ip"]));
    let others = NODES.iter().chain(&OUTSIDE).map(|address| (*address).to_owned());
    let mut sources: Vec<IpAddr> = of_pods.chain(others).map(|ip| ip.parse().unwrap()).collect();
    sources.sort_unstable();
    sources.dedup();
    let mut packets = Vec::new();
    for (target, pod) in cluster.pods.iter().enumerate() {
        if pod["spec"]["hostNetwork"] == true {
            continue;
        }
        for source in &sources {
            for protocol in PROTOCOLS {
                packets.extend(PORTS.map(|port| Packet {
                    target,
                    source: *source,
                    protocol,
                    port,
                }));
            }
        }
    }
    packets
}

/// Returns random policies that the matcher can read.
fn clusters(elements: Elements) -> impl Iterator<Item = Cluster> {
    let mut runner = TestRunner::default();
    let strategy = policies(elements);
    let mut next = move || strategy.new_tree(&mut runner).unwrap().current();
    std::iter::repeat_with(move || {
        let mut policies = next();
        policies.retain(|policy| policy["kind"] == "NetworkPolicy" && !has_not_in(policy));
        Cluster::new(policies)
    })
    .filter(|cluster| !cluster.policies.is_empty())
    .take(CASES)
}

/// Returns whether a policy has an expression with `NotIn`. The matcher does not select objects without the
/// label by it, but Kubernetes does.
fn has_not_in(policy: &Value) -> bool {
    policy.to_string().contains("NotIn")
}

/// Calls a function with each packet, whether it is certain, and whether the matcher allows it. Returns how
/// many packets there were, and how many of them were certain.
fn compare(elements: Elements, check: impl Fn(&Cluster, &Packet, bool, bool)) -> [usize; 2] {
    let mut matcher = Matcher::start();
    let mut counts = [0; 2];
    for cluster in clusters(elements) {
        let known = cluster.known();
        let pods: Vec<_> = cluster.pods.iter().map(as_pod).collect();
        let packets = packets(&cluster);
        let allowed = matcher.ask(&cluster, &packets);
        assert_eq!(allowed.len(), packets.len());
        for (target, pod) in pods.iter().enumerate() {
            let traffic = known.facts().of(pod).certain_traffic();
            let own = packets
                .iter()
                .zip(&allowed)
                .filter(|(packet, _)| packet.target == target);
            for (packet, allowed) in own {
                let certainty = traffic.certainty(packet.source, packet.protocol.0, packet.port);
                let certain = certainty == Certainty::Certain;
                check(&cluster, packet, certain, *allowed);
                counts[0] += 1;
                counts[1] += usize::from(certain);
            }
        }
    }
    counts
}

#[test]
fn what_is_certain_is_allowed_by_another_implementation() {
    let elements = Elements {
        blocks: true,
        equal_priorities: true,
    };
    let [all, certain] = compare(elements, |cluster, packet, certain, allowed| {
        assert!(!certain || allowed, "{packet:?} {:#?}", cluster.policies);
    });
    assert!(all >= 100_000 && certain >= all / 20, "{certain} of {all}");
}

#[test]
fn another_implementation_agrees_about_selectors_and_ports() {
    let elements = Elements {
        blocks: false,
        equal_priorities: true,
    };
    let [all, _] = compare(elements, |cluster, packet, certain, allowed| {
        let is_node = NODES.iter().any(|node| node.parse() == Ok(packet.source));
        assert!(
            is_node || certain == allowed,
            "{packet:?} {:#?}",
            cluster.policies
        );
    });
    assert!(all >= 100_000, "{all}");
}
