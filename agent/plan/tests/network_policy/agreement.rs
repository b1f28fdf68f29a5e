//! Whatever is certain is allowed by a plain reading of the API's text; and where engines cannot differ,
//! whatever that allows is certain.
//!
//! Each case asks about 1,710 packets (6 pods, 19 sources, 3 protocols, 5 ports), all cases about 1,710,000.

use std::net::IpAddr;

use proptest::prelude::*;
use serde_json::Value;
use xdp_plan::{
    network_policy::{CertainTraffic, Certainty, PodPolicies},
    policy::Protocol,
};

use super::{
    fixture::{Cluster, NODES, OUTSIDE, as_pod, text},
    oracle::Packet,
    random::{Elements, policies},
};

const PROTOCOLS: [(Protocol, &str); 3] = [
    (Protocol::Tcp, "TCP"),
    (Protocol::Udp, "UDP"),
    (Protocol::Sctp, "SCTP"),
];
const PORTS: [u16; 5] = [53, 80, 81, 443, 8080];

/// Pods that can be targets.
fn targets(cluster: &Cluster) -> impl Iterator<Item = &Value> {
    cluster
        .pods
        .iter()
        .filter(|pod| pod["spec"]["hostNetwork"] != true)
}

/// Addresses of pods, and whether they are the pods' own.
fn sources(cluster: &Cluster) -> Vec<IpAddr> {
    let addresses = |pod: &Value| pod["status"]["podIPs"].as_array().expect("valid").clone();
    let of_pods = cluster.pods.iter().flat_map(addresses).map(|ip| text(&ip["ip"]));
    let others = NODES.iter().chain(&OUTSIDE).map(|address| (*address).to_owned());
    let mut all: Vec<IpAddr> = of_pods
        .chain(others)
        .map(|ip| ip.parse().expect("valid"))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn is_node(address: IpAddr) -> bool {
    NODES.iter().any(|node| node.parse() == Ok(address))
}

/// The answers about one pod, which are the same in both forms.
struct Answers<'a>(PodPolicies<'a>, CertainTraffic);

impl<'a> Answers<'a> {
    fn new(policies: PodPolicies<'a>) -> Self {
        let traffic = policies.certain_traffic();
        Self(policies, traffic)
    }

    fn is_certain(&self, source: IpAddr, protocol: Protocol, port: u16) -> bool {
        let certainty = self.0.certainty(source, protocol, port);
        assert_eq!(
            self.1.certainty(source, protocol, port),
            certainty,
            "{source} {protocol:?} {port}"
        );
        certainty == Certainty::Certain
    }
}

/// Calls a function with each packet, and with whether it is certain.
fn each(cluster: &Cluster, missing: &Missing, mut check: impl FnMut(&Packet<'_>, bool)) {
    let mut known = cluster.known();
    known.forget_sets(&missing.kept);
    known.cluster = known.cluster.filter(|_| missing.knows_cluster);
    for target in targets(cluster) {
        let pod = as_pod(target);
        let answers = Answers::new(known.facts().of(&pod));
        for source in sources(cluster) {
            for (number, protocol) in PROTOCOLS {
                for port in PORTS {
                    let packet = Packet {
                        target,
                        source,
                        protocol,
                        port,
                    };
                    check(&packet, answers.is_certain(source, number, port));
                }
            }
        }
    }
}

/// What the agent does not know.
#[derive(Clone, Debug)]
struct Missing {
    /// Whether each set is there.
    kept: Vec<bool>,
    knows_cluster: bool,
}

const NOTHING_MISSING: Missing = Missing {
    kept: Vec::new(),
    knows_cluster: true,
};

const ALL: Elements = Elements {
    blocks: true,
    equal_priorities: true,
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(250) })]

    #[test]
    fn what_is_certain_is_allowed(policies in policies(ALL)) {
        let cluster = Cluster::new(policies);
        each(&cluster, &NOTHING_MISSING, |packet, certain| {
            assert!(!certain || cluster.allows(packet), "{packet}");
        });
    }

    #[test]
    fn what_is_certain_is_allowed_also_if_not_all_is_known(
        policies in policies(ALL),
        kept in proptest::collection::vec(any::<bool>(), 8),
        knows_cluster in proptest::bool::weighted(0.9),
    ) {
        let cluster = Cluster::new(policies);
        each(&cluster, &Missing { kept, knows_cluster }, |packet, certain| {
            assert!(!certain || cluster.allows(packet), "{packet}");
        });
    }

    #[test]
    fn what_engines_agree_about_is_certain_if_it_is_allowed(
        policies in policies(Elements { blocks: false, equal_priorities: false }),
    ) {
        let cluster = Cluster::new(policies);
        each(&cluster, &NOTHING_MISSING, |packet, certain| {
            if packet.protocol != "SCTP" && !is_node(packet.source) {
                let allowed = cluster.allows(packet);
                assert_eq!(certain, allowed, "{packet}");
            }
        });
    }

    #[test]
    fn networks_are_certain_for_sources_outside_the_cluster(
        policies in policies(Elements { blocks: true, equal_priorities: false }),
    ) {
        let cluster = Cluster::new(policies);
        let outside: Vec<IpAddr> = OUTSIDE.iter().map(|address| address.parse().unwrap()).collect();
        each(&cluster, &NOTHING_MISSING, |packet, certain| {
            if packet.protocol != "SCTP" && outside.contains(&packet.source) {
                let allowed = cluster.allows(packet);
                assert_eq!(certain, allowed, "{packet}");
            }
        });
    }
}
