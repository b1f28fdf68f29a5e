//! What the agent does not know, or cannot read, is not certain.

use serde_json::{Value, json};
use xdp_plan::{
    network_policy::{AddressSets, NotCertainReason},
    permission::NamespaceLabels,
    policy::Protocol::{Tcp, Udp},
};

use super::fixture::{Cluster, OUTSIDE, of_cluster, v1};

const OF_TEAM: &str = "10.1.1.2";

fn cluster_policy(action: &str, peers: &Value, protocols: &Value) -> Value {
    let mut rule = json!({"action": action, "from": peers, "protocols": protocols});
    if protocols.is_null() {
        rule.as_object_mut().expect("valid").remove("protocols");
    }
    let spec = json!({"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "ingress": [rule]});
    of_cluster("ClusterNetworkPolicy", "p", &spec)
}

/// A policy of the last tier about all pods, which denies what other pods send.
fn baseline_deny() -> Value {
    let rule = json!({"action": "Deny", "from": [{"namespaces": {}}]});
    let spec = json!({"tier": "Baseline", "priority": 1, "subject": {"namespaces": {}}, "ingress": [rule]});
    of_cluster("ClusterNetworkPolicy", "last", &spec)
}

fn why(policies: Vec<Value>, source: &str, port: u16) -> Option<NotCertainReason> {
    let cluster = Cluster::new(policies);
    cluster.known().ask(&cluster.pod("x1"), source, Tcp, port)
}

#[test]
fn an_incomplete_set_is_not_certain_and_other_rules_count() {
    let rules =
        json!([{"from": [{"podSelector": {}}]}, {"from": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}]);
    let cluster = Cluster::new(vec![v1(
        "a",
        "one",
        &json!({"podSelector": {}, "ingress": rules}),
    )]);
    let mut known = cluster.known();
    known.sets = AddressSets::default();
    let ask = |source| known.ask(&cluster.pod("x1"), source, Tcp, 80);
    assert_eq!(ask("10.1.0.2"), Some(NotCertainReason::AddressesPending));
    assert_eq!(ask("203.0.113.9"), Some(NotCertainReason::AddressesPending));
    assert_eq!(ask(OUTSIDE[0]), None);
}

#[test]
fn an_incomplete_set_of_a_rule_that_denies_is_not_certain_for_anyone() {
    for action in ["Deny", "Pass"] {
        let policy = cluster_policy(action, &json!([{"namespaces": {}}]), &Value::Null);
        let cluster = Cluster::new(vec![policy]);
        let mut known = cluster.known();
        known.sets = AddressSets::default();
        let why = known.ask(&cluster.pod("x1"), OUTSIDE[0], Tcp, 80);
        assert_eq!(why, Some(NotCertainReason::AddressesPending), "{action}");
    }
}

#[test]
fn unknown_addresses_of_the_cluster_matter_only_if_a_policy_selects_the_pod() {
    let cluster = Cluster::new(vec![v1("a", "all", &json!({"podSelector": {}, "ingress": [{}]}))]);
    let mut known = cluster.known();
    known.cluster = None;
    let ask = |pod| known.ask(&cluster.pod(pod), OUTSIDE[0], Tcp, 80);
    assert_eq!(ask("x1"), Some(NotCertainReason::ClusterPending));
    assert_eq!(ask("x2"), None);
}

#[test]
fn unknown_labels_of_the_namespace_matter_only_if_they_decide() {
    let spec = |namespaces: Value, pods: Value| {
        let subject = json!({"pods": {"namespaceSelector": namespaces, "podSelector": pods}});
        let rule = json!({"action": "Accept", "from": [{"namespaces": {}}]});
        json!({"tier": "Admin", "priority": 1, "subject": subject, "ingress": [rule]})
    };
    let red = json!({"matchLabels": {"team": "red"}});
    let y = json!({"matchLabels": {"app": "y"}});
    for (subject, expected) in [
        (
            spec(red.clone(), json!({})),
            Some(NotCertainReason::NamespacePending),
        ),
        (spec(red, y), None),
        (spec(json!({}), json!({})), None),
    ] {
        let cluster = Cluster::new(vec![of_cluster("ClusterNetworkPolicy", "p", &subject)]);
        let mut known = cluster.known();
        known.namespaces = NamespaceLabels::new();
        assert_eq!(
            known.ask(&cluster.pod("x1"), OF_TEAM, Tcp, 80),
            expected,
            "{subject}"
        );
    }
}

#[test]
fn a_policy_that_cannot_be_read_may_select_all_pods_of_its_namespace_or_of_the_cluster() {
    let wrong = json!({"matchExpressions": [{"key": "app", "operator": "Like", "values": ["x"]}]});
    let cluster = Cluster::new(vec![v1("a", "wrong", &json!({"podSelector": wrong}))]);
    let ask = |cluster: &Cluster, pod| cluster.known().ask(&cluster.pod(pod), OUTSIDE[0], Tcp, 80);
    assert_eq!(ask(&cluster, "x1"), Some(NotCertainReason::Unreadable));
    assert_eq!(ask(&cluster, "x2"), None);
    for spec in [
        json!({"tier": "Application", "priority": 1, "subject": {"namespaces": {}}}),
        json!({"tier": "Admin", "priority": 1001, "subject": {"namespaces": {}}}),
        json!({"tier": "Admin", "priority": 1, "subject": {"serviceAccounts": {}}}),
        json!({"tier": "Admin", "priority": 1, "subject": {}}),
        json!({"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "hosts": true}),
        json!({"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "ingress": [{"action": 1}]}),
    ] {
        let cluster = Cluster::new(vec![of_cluster("ClusterNetworkPolicy", "p", &spec)]);
        assert_eq!(ask(&cluster, "x2"), Some(NotCertainReason::Unreadable), "{spec}");
    }
}

#[test]
fn a_peer_that_cannot_be_read_may_be_any_source_that_a_rule_denies_and_none_that_it_accepts() {
    let new = json!({"networks": ["0.0.0.0/0"]});
    let deny = |action| cluster_policy(action, &json!([new]), &Value::Null);
    assert_eq!(
        why(vec![deny("Deny")], OUTSIDE[0], 80),
        Some(NotCertainReason::Unreadable)
    );
    assert_eq!(
        why(vec![deny("Pass")], OUTSIDE[0], 80),
        Some(NotCertainReason::Unreadable)
    );
    assert_eq!(
        why(vec![deny("Accept")], OUTSIDE[0], 80),
        None,
        "the default allows it"
    );
    let deny_all = v1("a", "deny", &json!({"podSelector": {}}));
    assert_eq!(
        why(vec![deny("Accept"), deny_all], OUTSIDE[0], 80),
        Some(NotCertainReason::NotAllowed)
    );
    let both = cluster_policy("Accept", &json!([new, {"namespaces": {}}]), &Value::Null);
    assert_eq!(
        why(vec![both, baseline_deny()], OF_TEAM, 80),
        None,
        "the other peer counts"
    );
}

#[test]
fn a_port_that_cannot_be_read_may_be_any_that_a_rule_denies_and_none_that_it_accepts() {
    let ports = json!([{"quic": {}}, {"tcp": {"destinationPort": {"number": 80}}}]);
    let policy = |action| cluster_policy(action, &json!([{"namespaces": {}}]), &ports);
    assert_eq!(
        why(vec![policy("Deny")], OF_TEAM, 80),
        Some(NotCertainReason::Denied)
    );
    assert_eq!(
        why(vec![policy("Deny")], OF_TEAM, 81),
        Some(NotCertainReason::Unreadable)
    );
    assert_eq!(why(vec![policy("Deny")], OUTSIDE[0], 81), None);
    let accept = || vec![policy("Accept"), baseline_deny()];
    assert_eq!(why(accept(), OF_TEAM, 80), None);
    assert_eq!(why(accept(), OF_TEAM, 81), Some(NotCertainReason::Denied));
}

#[test]
fn peers_and_ports_of_network_policies_that_cannot_be_read_allow_nothing() {
    for peer in [
        json!({}),
        json!({"ipBlock": {"cidr": "198.51.100.0"}}),
        json!({"ipBlock": {"cidr": "198.51.100.0/24", "except": ["10.0.0.0/8"]}}),
        json!({"ipBlock": {"cidr": "::ffff:0.0.0.0/96"}}),
        json!({"ipBlock": {"cidr": "198.51.100.0/24"}, "podSelector": {}}),
        json!({"podSelector": {"matchLabels": {"not a key": ""}}}),
    ] {
        let spec = json!({"podSelector": {}, "ingress": [{"from": [peer]}]});
        let expected = Some(NotCertainReason::Unreadable);
        assert_eq!(
            why(vec![v1("a", "one", &spec)], OUTSIDE[0], 80),
            expected,
            "{peer}"
        );
    }
    for port in [
        json!({"port": 80, "endPort": 79}),
        json!({"port": 80, "endPort": 65536}),
        json!({"port": "web", "endPort": 80}),
        json!({"endPort": 80}),
        json!({"protocol": "ICMP"}),
    ] {
        let spec = json!({"podSelector": {}, "ingress": [{"ports": [port]}]});
        let expected = Some(NotCertainReason::Unreadable);
        assert_eq!(
            why(vec![v1("a", "one", &spec)], OUTSIDE[0], 80),
            expected,
            "{port}"
        );
    }
}

#[test]
fn a_port_name_that_readers_may_resolve_differently_is_not_certain() {
    let ports = json!([{"port": "web"}, {"protocol": "UDP", "port": "dns"}]);
    let spec = json!({"podSelector": {}, "ingress": [{"ports": ports}]});
    let mut cluster = Cluster::new(vec![v1("a", "one", &spec)]);
    let second = json!({"name": "second", "ports": [{"name": "web", "containerPort": 80}]});
    cluster.pods[0]["spec"]["containers"]
        .as_array_mut()
        .expect("valid")
        .push(second);
    let sidecar = json!([{"name": "sidecar", "restartPolicy": "Always", "ports": [
        {"name": "dns", "containerPort": 5353, "protocol": "UDP"},
    ]}]);
    let ask =
        |cluster: &Cluster, protocol, port| cluster.known().ask(&cluster.pod("x1"), OF_TEAM, protocol, port);
    let ambiguous = Some(NotCertainReason::AmbiguousPort);
    for port in [80, 8080] {
        assert_eq!(ask(&cluster, Tcp, port), ambiguous);
    }
    assert_eq!(ask(&cluster, Udp, 53), None);
    cluster.pods[0]["spec"]["initContainers"] = sidecar;
    assert_eq!(ask(&cluster, Udp, 53), ambiguous);
}

#[test]
fn too_many_rules_to_evaluate_for_all_packets_are_not_certain_for_any() {
    let rules: Vec<Value> = (0..3000)
        .map(|port| json!({"ports": [{"port": 2 * port}]}))
        .collect();
    let policy = |rules: &[Value]| v1("a", "many", &json!({"podSelector": {}, "ingress": rules}));
    let ask = |rules| {
        let cluster = Cluster::new(vec![policy(rules)]);
        let known = cluster.known();
        let traffic = known.facts().of(&cluster.pod("x1")).certain_traffic();
        traffic.reasons().iter().map(|why| why.reason).collect::<Vec<_>>()
    };
    assert_eq!(ask(&rules), [NotCertainReason::TooManyRules]);
    assert!(!ask(&rules[..100]).contains(&NotCertainReason::TooManyRules));
}
