//! One fact for each row of what is certain.

use std::slice;

use serde_json::{Value, json};
use xdp_plan::{
    network_policy::{AddressSet, NotCertainReason, PolicyFacts},
    policy::Protocol::{Icmp, Sctp, Tcp, Udp},
};

use super::fixture::{Cluster, NODES, OUTSIDE, of_cluster, v1};

/// Asks about TCP port 80 of the pod `x1`, which has `app: x` in namespace `a`.
fn why(policies: &[Value], source: &str) -> Option<NotCertainReason> {
    let cluster = Cluster::new(policies.to_vec());
    cluster.known().ask(&cluster.pod("x1"), source, Tcp, 80)
}

/// A policy about the pods of namespace `a` with one ingress rule.
fn allowing(rule: &Value) -> Value {
    v1("a", "one", &json!({"podSelector": {}, "ingress": [rule]}))
}

fn from(peer: &Value) -> Value {
    allowing(&json!({"from": [peer]}))
}

/// A `ClusterNetworkPolicy` about all pods with one rule about sources in namespaces with a label `team`.
fn admin(name: &str, priority: u16, action: &str) -> Value {
    in_tier("Admin", name, priority, action)
}

fn in_tier(tier: &str, name: &str, priority: u16, action: &str) -> Value {
    let team = json!({"namespaces": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}});
    let rule = json!({"action": action, "from": [team]});
    let spec = json!({"tier": tier, "priority": priority, "subject": {"namespaces": {}}, "ingress": [rule]});
    of_cluster("ClusterNetworkPolicy", name, &spec)
}

const DENIED: Option<NotCertainReason> = Some(NotCertainReason::Denied);
const NOT_ALLOWED: Option<NotCertainReason> = Some(NotCertainReason::NotAllowed);
/// The pod `y2` of namespace `b`, which has a label `team`.
const OF_TEAM: &str = "10.1.1.2";
/// The pod `y3` of namespace `c`, which has none.
const OF_NO_TEAM: &str = "10.1.2.3";

#[test]
fn everything_is_certain_for_a_pod_that_no_policy_selects() {
    let others = [
        v1("b", "other-namespace", &json!({"podSelector": {}})),
        v1(
            "a",
            "other-pods",
            &json!({"podSelector": {"matchLabels": {"app": "y"}}}),
        ),
        v1(
            "a",
            "egress",
            &json!({"podSelector": {}, "policyTypes": ["Egress"]}),
        ),
        of_cluster(
            "ClusterNetworkPolicy",
            "no-rules",
            &json!({
                "tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "egress": [{"any": "thing"}],
            }),
        ),
    ];
    let cluster = Cluster::new(others.into());
    let (known, pod) = (cluster.known(), cluster.pod("x1"));
    for source in [NODES[0], OUTSIDE[0], OF_TEAM, "fd00:1::12"] {
        for protocol in [Tcp, Udp, Sctp, Icmp] {
            assert_eq!(
                known.ask(&pod, source, protocol, 80),
                None,
                "{source} {protocol:?}"
            );
        }
    }
    assert!(known.facts().of(&pod).certain_traffic().is_everything());
}

#[test]
fn a_policy_without_rules_allows_nothing_and_policy_types_say_ingress_by_default() {
    for spec in [
        json!({"podSelector": {}}),
        json!({"podSelector": {}, "ingress": []}),
        json!({"podSelector": {}, "policyTypes": ["Ingress"]}),
        json!({"podSelector": {}, "policyTypes": ["Egress", "Ingress"], "egress": [{}]}),
        json!({"podSelector": {}, "egress": [{}]}),
    ] {
        assert_eq!(why(&[v1("a", "one", &spec)], OF_TEAM), NOT_ALLOWED, "{spec}");
    }
}

#[test]
fn an_empty_or_absent_from_means_everyone_except_nodes() {
    for rule in [json!({}), json!({"from": []}), json!({"ports": []})] {
        for source in [OF_TEAM, OF_NO_TEAM, OUTSIDE[0], "fd00:1::12", OUTSIDE[3]] {
            assert_eq!(why(&[allowing(&rule)], source), None, "{rule} {source}");
        }
        assert_eq!(
            why(&[allowing(&rule)], NODES[0]),
            Some(NotCertainReason::NodeAddress)
        );
    }
}

#[test]
fn a_network_of_all_addresses_means_only_those_outside_the_cluster() {
    let all = from(&json!({"ipBlock": {"cidr": "0.0.0.0/0"}}));
    assert_eq!(why(slice::from_ref(&all), OUTSIDE[0]), None);
    assert_eq!(
        why(slice::from_ref(&all), OF_TEAM),
        Some(NotCertainReason::BlockInCluster)
    );
    assert_eq!(
        why(slice::from_ref(&all), "10.1.200.200"),
        Some(NotCertainReason::BlockInCluster),
        "no pod has it yet"
    );
    assert_eq!(
        why(slice::from_ref(&all), "172.16.0.9"),
        Some(NotCertainReason::BlockInCluster),
        "in no podCIDR"
    );
    assert_eq!(
        why(slice::from_ref(&all), NODES[1]),
        Some(NotCertainReason::NodeAddress)
    );
    assert_eq!(why(&[all], OUTSIDE[3]), NOT_ALLOWED, "IPv6");
}

#[test]
fn exceptions_of_a_network_are_not_allowed_and_other_rules_may_allow_them() {
    let block = json!({"ipBlock": {"cidr": "198.51.100.9/24", "except": ["198.51.100.64/26"]}});
    assert_eq!(why(&[from(&block)], "198.51.100.63"), None);
    assert_eq!(why(&[from(&block)], "198.51.100.64"), NOT_ALLOWED);
    let other = v1(
        "a",
        "two",
        &json!({"podSelector": {}, "ingress": [{"from": [
            {"ipBlock": {"cidr": "198.51.100.70/32"}},
        ]}]}),
    );
    assert_eq!(why(&[from(&block), other], "198.51.100.70"), None);
}

#[test]
fn a_pod_selector_means_the_namespace_of_the_policy_and_a_namespace_selector_all_of_its_pods() {
    let y = json!({"matchLabels": {"app": "y"}});
    let blue = json!({"matchLabels": {"team": "blue"}});
    let cases = [
        (
            json!({"podSelector": y}),
            ["10.1.0.2", "fd00:1::2"],
            [OF_TEAM, OUTSIDE[0]],
        ),
        (
            json!({"namespaceSelector": blue}),
            [OF_TEAM, "10.1.1.1"],
            ["10.1.0.2", OF_NO_TEAM],
        ),
        (
            json!({"namespaceSelector": blue, "podSelector": y}),
            [OF_TEAM, "fd00:1::12"],
            ["10.1.1.1", "10.1.0.2"],
        ),
    ];
    for (peer, certain, not) in cases {
        for source in certain {
            assert_eq!(why(&[from(&peer)], source), None, "{peer} {source}");
        }
        for source in not {
            assert_eq!(why(&[from(&peer)], source), NOT_ALLOWED, "{peer} {source}");
        }
    }
}

#[test]
fn ports_have_a_default_protocol_an_end_and_names_of_the_target() {
    let ports = json!([{"port": 80, "endPort": 90}, {"port": "web"}, {"protocol": "UDP"}, {"port": "other"}]);
    let cluster = Cluster::new(vec![allowing(&json!({"ports": ports}))]);
    let (known, pod) = (cluster.known(), cluster.pod("x1"));
    for (protocol, port, expected) in [
        (Tcp, 79, NOT_ALLOWED),
        (Tcp, 80, None),
        (Tcp, 90, None),
        (Tcp, 91, NOT_ALLOWED),
        (Tcp, 8080, None),
        (Udp, 0, None),
        (Udp, 65535, None),
    ] {
        assert_eq!(
            known.ask(&pod, OF_TEAM, protocol, port),
            expected,
            "{protocol:?} {port}"
        );
    }
}

#[test]
fn sctp_and_icmp_are_never_certain_if_a_policy_selects_the_pod() {
    let policies = [
        allowing(&json!({})),
        allowing(&json!({"ports": [{"protocol": "SCTP"}]})),
    ];
    for policy in policies {
        let cluster = Cluster::new(vec![policy]);
        for protocol in [Sctp, Icmp] {
            let why = cluster.known().ask(&cluster.pod("x1"), OF_TEAM, protocol, 80);
            assert_eq!(why, Some(NotCertainReason::Protocol));
        }
    }
}

#[test]
fn policies_are_added_up() {
    let deny_all = v1("a", "deny", &json!({"podSelector": {}}));
    let blue = from(&json!({"namespaceSelector": {"matchLabels": {"team": "blue"}}}));
    assert_eq!(why(&[deny_all.clone(), blue.clone()], OF_TEAM), None);
    assert_eq!(why(&[deny_all, blue], OF_NO_TEAM), NOT_ALLOWED);
}

#[test]
fn a_pod_in_the_hosts_network_is_never_selected_as_a_source() {
    // The pod `host` has `app: x` in namespace `a`, and an address of a node.
    let x = json!({"podSelector": {"matchLabels": {"app": "x"}}});
    assert_eq!(why(&[from(&x)], NODES[0]), Some(NotCertainReason::NodeAddress));
}

#[test]
fn an_address_that_two_pods_claim_is_not_certain() {
    let cluster = Cluster::new(vec![allowing(&json!({}))]);
    let mut known = cluster.known();
    let disputed: AddressSet = [OF_TEAM.parse::<std::net::IpAddr>().expect("valid")]
        .into_iter()
        .collect();
    known.cluster.as_mut().expect("valid").disputed = disputed;
    let why = known.ask(&cluster.pod("x1"), OF_TEAM, Tcp, 80);
    assert_eq!(why, Some(NotCertainReason::DisputedAddress));
    assert_eq!(known.ask(&cluster.pod("x1"), OF_NO_TEAM, Tcp, 80), None);
}

#[test]
fn the_admin_tier_comes_first_and_the_baseline_last() {
    let deny_all = v1("a", "deny", &json!({"podSelector": {}}));
    let allow_all = allowing(&json!({}));
    assert_eq!(why(&[admin("p", 1, "Deny"), allow_all.clone()], OF_TEAM), DENIED);
    assert_eq!(why(&[admin("p", 1, "Deny"), allow_all.clone()], OF_NO_TEAM), None);
    assert_eq!(
        why(
            &[admin("p", 1, "Pass"), admin("q", 2, "Accept"), deny_all],
            OF_TEAM
        ),
        NOT_ALLOWED
    );
    let baseline = in_tier("Baseline", "b", 1, "Deny");
    assert_eq!(why(slice::from_ref(&baseline), OF_TEAM), DENIED);
    assert_eq!(why(slice::from_ref(&baseline), OF_NO_TEAM), None);
    assert_eq!(why(&[baseline.clone(), allow_all], OF_TEAM), None);
    assert_eq!(why(&[baseline.clone(), admin("p", 1, "Pass")], OF_TEAM), DENIED);
    assert_eq!(why(&[baseline, admin("p", 1, "Accept")], OF_TEAM), None);
}

#[test]
fn an_accept_of_the_administrator_is_certain_only_if_no_network_policy_refuses_it() {
    let deny_all = v1("a", "deny", &json!({"podSelector": {}}));
    let blue = from(&json!({"namespaceSelector": {"matchLabels": {"team": "blue"}}}));
    let accept = admin("p", 1, "Accept");
    assert_eq!(
        why(slice::from_ref(&accept), OF_TEAM),
        None,
        "none selects the pod"
    );
    assert_eq!(why(&[accept.clone(), deny_all], OF_TEAM), NOT_ALLOWED);
    assert_eq!(why(&[accept.clone(), blue.clone()], OF_TEAM), None);
    assert_eq!(why(&[accept, blue], "10.1.0.2"), NOT_ALLOWED);
}

#[test]
fn lower_priorities_come_first_and_equal_ones_that_differ_are_not_certain() {
    assert_eq!(
        why(&[admin("p", 1, "Accept"), admin("q", 2, "Deny")], OF_TEAM),
        None
    );
    assert_eq!(
        why(&[admin("p", 2, "Accept"), admin("q", 1, "Deny")], OF_TEAM),
        DENIED
    );
    assert_eq!(
        why(&[admin("p", 1, "Accept"), admin("q", 1, "Accept")], OF_TEAM),
        None
    );
    for other in ["Deny", "Pass"] {
        let equal = [admin("p", 1, "Accept"), admin("q", 1, other)];
        assert_eq!(why(&equal, OF_TEAM), Some(NotCertainReason::EqualPriorities));
        assert_eq!(why(&equal, OF_NO_TEAM), None, "neither matches");
    }
}

#[test]
fn both_versions_of_the_administrators_policies_about_a_pod_are_not_certain() {
    let rule = json!({"action": "Allow", "from": [{"namespaces": {}}]});
    let red = json!({"namespaces": {"matchLabels": {"team": "red"}}});
    let old = json!({"priority": 1, "subject": red, "ingress": [rule]});
    let old = of_cluster("AdminNetworkPolicy", "old", &old);
    assert_eq!(why(slice::from_ref(&old), OF_TEAM), None);
    let both = Cluster::new(vec![old, admin("new", 1, "Accept")]);
    let ask = |pod| both.known().ask(&both.pod(pod), OF_TEAM, Tcp, 80);
    assert_eq!(ask("x1"), Some(NotCertainReason::TwoVersions));
    assert_eq!(ask("x2"), None, "only the new one selects the pod");
}

#[test]
fn the_reason_names_the_policy() {
    let policies = vec![
        v1("a", "deny-all", &json!({"podSelector": {}})),
        admin("no-teams", 7, "Deny"),
    ];
    let cluster = Cluster::new(policies);
    let known = cluster.known();
    let facts: PolicyFacts<'_> = known.facts();
    let traffic = facts.of(&cluster.pod("x1")).certain_traffic();
    let mut reasons: Vec<String> = traffic.reasons().iter().map(ToString::to_string).collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            "ClusterNetworkPolicy no-teams (Denied)",
            "ClusterNetworkPolicy no-teams (NodeAddress)",
            "ClusterNetworkPolicy no-teams (Protocol)",
            "NetworkPolicy a/deny-all (NotAllowed)",
        ]
    );
}
