//! A Redirect rule redirects only what is certainly allowed; nothing else changes.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use proptest::{collection::vec, prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use xdp_core::{
    events::Fallback,
    tables::ActionRecord,
    verdict::{Verdict, decide},
};
use xdp_crds::{
    NetworkPolicyMode, XdpPolicy,
    network_policy::{
        IngressPolicy, NETWORK_POLICY, PolicyAction, PolicyName, PolicyPeer, PolicyRule, PolicySources,
        PolicyTier,
    },
    policy::{PodSelection, SelectedNamespaces, Selector},
};
use xdp_plan::{
    compile::{Compiled, Compiler},
    network_policy::{AddressSets, CertainTraffic, Certainty, ClusterAddresses, PolicyFacts},
    permission::NamespaceLabels,
    pod::Pod,
    policy::{Policy, Protocol, RuleAction},
    targets::PodCertainty,
    testing::{
        edges::Edges,
        fixture,
        model::TableModel,
        node::{pair, plan_certain},
        objects::{self, NAMESPACE},
        packets::{self, PacketSpec},
    },
};

use crate::{
    nodes::{installed, ips},
    sets::{pod, policy, targets_of, v4},
};

const RANDOM: usize = 100_000;
const AT_EDGES: usize = 200_000;

/// Policies of both kinds, and a pod.
#[derive(Debug)]
struct Case {
    policies: Vec<XdpPolicy>,
    network_policies: Vec<Arc<IngressPolicy>>,
    pod: k8s_openapi::api::core::v1::Pod,
    ready: bool,
    packets: Vec<PacketSpec>,
}

fn case() -> impl Strategy<Value = Case> {
    (
        objects::policies(),
        objects::network_policies(),
        objects::pod("a", ips(0)),
        prop::bool::weighted(0.9),
        vec(packets::packet(ips(0)), 256),
    )
        .prop_map(|(policies, network_policies, pod, ready, packets)| Case {
            policies,
            network_policies: network_policies.into_iter().map(Arc::new).collect(),
            pod,
            ready,
            packets,
        })
}

impl Case {
    fn certain(&self) -> CertainTraffic {
        let (sets, cluster) = (AddressSets::default(), ClusterAddresses::default());
        let facts = PolicyFacts {
            policies: &self.network_policies,
            unreadable: &[],
            foreign: &[],
            sets: &sets,
            cluster: Some(&cluster),
            namespaces: &NamespaceLabels::default(),
        };
        facts.of(&Pod::try_from(&self.pod).unwrap()).certain_traffic()
    }

    /// Returns the tables without and with what the NetworkPolicies say, and all edges of the latter.
    fn models(&self, certain: &CertainTraffic) -> [(TableModel, Edges); 2] {
        let name = (NAMESPACE.to_owned(), "a".to_owned());
        let restricted = PodCertainty::from([(name, Arc::new(certain.clone()))]);
        [PodCertainty::new(), restricted].map(|certainty| {
            let pods = std::slice::from_ref(&self.pod);
            let pairs = vec![pair(10, ips(0))];
            let desired = plan_certain(&certainty, &self.policies, pods, pairs, self.ready);
            let compiled = desired.pods.first().map(|pod| &*pod.rules);
            let none = Compiled::default();
            let edges = Edges::of(&self.policies, compiled.unwrap_or(&none));
            (installed(&desired), edges)
        })
    }

    /// Returns what the verdict becomes because of the NetworkPolicies.
    fn expected(
        &self,
        free: Verdict,
        model: &TableModel,
        packet: &PacketSpec,
        certain: &CertainTraffic,
    ) -> Verdict {
        let rule = match free {
            Verdict::Redirect(redirect) | Verdict::Peer(redirect) => redirect.metadata.rule(),
            // These reasons come after the one of NetworkPolicies.
            Verdict::FallBack {
                rule,
                reason:
                    Fallback::NotUnicast
                    | Fallback::Fragment
                    | Fallback::TooLong
                    | Fallback::TimeToLive
                    | Fallback::IpOptions,
            } => rule,
            other => return other,
        };
        let label = &model.installed.rules[&rule];
        let policy = self
            .policies
            .iter()
            .find(|policy| policy.metadata.name.as_ref() == Some(&label.policy));
        if policy.unwrap().spec.network_policy == NetworkPolicyMode::Ignore {
            return free;
        }
        let fields = packet.fields().unwrap();
        let protocol = match fields.protocol {
            Some(6) => Protocol::Tcp,
            Some(17) => Protocol::Udp,
            _ => Protocol::Sctp,
        };
        let port = fields.ports.map_or(0, |(_, port)| port);
        match certain.certainty(fields.source, protocol, port) {
            Certainty::Certain => free,
            Certainty::NotCertain(_) => Verdict::FallBack {
                rule,
                reason: Fallback::NetworkPolicy,
            },
        }
    }

    /// Compares the tables with the rule for each packet. Returns the number of packets, and of those that
    /// are redirected, and that fall back because of NetworkPolicies.
    fn check<'p>(
        &self,
        [(free, _), (restricted, _)]: &[(TableModel, Edges); 2],
        certain: &CertainTraffic,
        packets: impl Iterator<Item = std::borrow::Cow<'p, PacketSpec>>,
    ) -> [usize; 3] {
        assert_eq!(free.installed.rules, restricted.installed.rules);
        let mut counts = [0; 3];
        for packet in packets {
            let bytes = packet.bytes();
            let verdict = decide(bytes.as_slice(), restricted);
            let expected = self.expected(decide(bytes.as_slice(), free), free, &packet, certain);
            assert_eq!(verdict, expected, "{packet:?} under {self:#?}");
            counts[0] += 1;
            counts[1] += usize::from(matches!(verdict, Verdict::Redirect(_) | Verdict::Peer(_)));
            let falls_back = matches!(
                verdict,
                Verdict::FallBack {
                    reason: Fallback::NetworkPolicy,
                    ..
                }
            );
            counts[2] += usize::from(falls_back);
        }
        counts
    }
}

/// Compares until there were this many packets.
fn check_all(least: usize, packets: impl Fn(&Case, &Edges) -> Vec<PacketSpec>) {
    let mut runner = TestRunner::default();
    let mut counts = [0; 3];
    while counts[0] < least {
        let case = case().new_tree(&mut runner).unwrap().current();
        let certain = case.certain();
        let models = case.models(&certain);
        let packets = packets(&case, &models[1].1);
        let more = case.check(
            &models,
            &certain,
            packets.into_iter().map(std::borrow::Cow::Owned),
        );
        counts = std::array::from_fn(|index| counts[index] + more[index]);
    }
    let [all, redirected, fell_back] = counts;
    println!("{all} verdicts, {redirected} redirected, {fell_back} by NetworkPolicies to the stack");
    assert!(redirected * 400 > all && fell_back * 400 > all, "{counts:?}");
}

#[test]
fn any_packet_is_redirected_only_if_it_is_certainly_allowed() {
    check_all(RANDOM, |case, _| case.packets.clone());
}

#[test]
fn packets_at_every_edge_are_redirected_only_if_they_are_certainly_allowed() {
    check_all(AT_EDGES, |_, edges| {
        ips(0)
            .into_iter()
            .flat_map(|destination| edges.packets(destination).collect::<Vec<_>>())
            .collect()
    });
}

/// Returns what is certain under a NetworkPolicy that allows pods with these addresses.
fn certain(addresses: impl Iterator<Item = u32>) -> CertainTraffic {
    let all = PodSelection {
        namespaces: SelectedNamespaces::Named("n".into()),
        pods: Selector::default(),
    };
    let addresses = addresses.map(|address| IpAddr::from(Ipv4Addr::from(address)));
    let sets = AddressSets::from_iter([(all.id(), addresses.collect())]);
    let policy = IngressPolicy {
        name: PolicyName {
            kind: NETWORK_POLICY,
            namespace: Some("n".into()),
            name: "n".into(),
        },
        subject: all.clone(),
        tier: PolicyTier::NetworkPolicy,
        priority: 0,
        rules: vec![PolicyRule {
            action: PolicyAction::Accept,
            from: PolicySources::Listed(vec![PolicyPeer::pods(all)]),
            ports: Vec::new(),
        }],
    };
    let facts = PolicyFacts {
        policies: &[Arc::new(policy)],
        unreadable: &[],
        foreign: &[],
        sets: &sets,
        cluster: Some(&ClusterAddresses::default()),
        namespaces: &NamespaceLabels::default(),
    };
    facts.of(&pod("n", IpAddr::from([10, 0, 0, 1]))).certain_traffic()
}

/// Compiles a policy that drops from one address and redirects from all others.
fn compile(
    compiler: &mut Compiler,
    certain: CertainTraffic,
    mode: NetworkPolicyMode,
) -> (Arc<Compiled>, usize) {
    let rules = vec![
        crate::sets::rule("drop", crate::sets::listed([v4(7)]), Vec::new()),
        fixture::rule("redirect", RuleAction::Redirect),
    ];
    let policies = [Policy {
        network_policy: mode,
        ..policy("n", "p", rules)
    }];
    let server = pod("n", [10, 0, 0, 1].into());
    let mut targets = targets_of(&policies, std::slice::from_ref(&server));
    targets.restrict(&PodCertainty::from([(
        (server.namespace, server.name),
        Arc::new(certain),
    )]));
    let desired = xdp_plan::testing::node::compile_all(compiler, &targets, &BTreeMap::new());
    (Arc::clone(&desired.pods[0].rules), desired.problems.len())
}

#[test]
fn without_network_policies_and_with_those_that_are_ignored_the_tables_are_the_same() {
    let mut compiler = Compiler::default();
    let honour = |compiler: &mut _, certain| compile(compiler, certain, NetworkPolicyMode::Honour).0;
    let free = honour(&mut compiler, CertainTraffic::everything());
    let some = certain(1..3);
    let restricted = honour(&mut compiler, some.clone());
    assert_eq!((free.actions.len(), restricted.actions.len()), (2, 3));
    assert!(
        Arc::ptr_eq(&restricted, &honour(&mut compiler, some.clone())),
        "compiled again"
    );
    let ignored = compile(&mut compiler, some, NetworkPolicyMode::Ignore).0;
    assert_eq!(*free, *ignored);
}

#[test]
fn more_intervals_than_there_is_room_for_end_redirects_and_nothing_else() {
    let mut compiler = Compiler::default();
    let few = certain(1..3);
    let before = compile(&mut compiler, few, NetworkPolicyMode::Honour);
    assert_eq!(before.1, 0);
    // Addresses that are not adjacent.
    let many = certain((0..150_000).map(|number| 2 * number));
    let (rules, problems) = compile(&mut compiler, many, NetworkPolicyMode::Honour);
    assert_eq!(problems, 1);
    let restricted = |record: &ActionRecord| record.flags & ActionRecord::NOT_CERTAIN != 0;
    let found: Vec<(&str, bool)> = rules
        .rules
        .iter()
        .map(|label| label.rule.as_str())
        .zip(rules.actions.iter().map(restricted))
        .collect();
    assert_eq!(found, [("redirect", true), ("drop", false)]);
}
