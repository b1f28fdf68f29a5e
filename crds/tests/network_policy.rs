//! Policies of Kubernetes in one form.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};
use xdp_crds::{
    API_VERSION, XdpPolicy,
    network_policy::{
        ADMIN_NETWORK_POLICY, IngressPolicy, PolicyAction, PolicyKind, PolicyPort, PolicySources, PolicyTier,
        admin_network_policy, cluster_network_policy, network_policy,
    },
    policy::{Policy, Protocol},
    report::Problem,
};

fn v1(namespace: &str, spec: &Value) -> IngressPolicy {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": "one"},
        "spec": spec,
    });
    let object: NetworkPolicy = serde_json::from_value(object).expect("valid");
    network_policy(&object).expect("valid").expect("about ingress")
}

#[test]
fn a_source_has_the_set_of_the_same_source_in_an_xdp_policy() {
    let from = json!([
        {"podSelector": {"matchLabels": {"app": "a"}}},
        {"namespaceSelector": {"matchLabels": {"team": "red"}}},
        {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "b"}}},
    ]);
    let mut with_block = from.clone();
    with_block
        .as_array_mut()
        .expect("valid")
        .push(json!({"ipBlock": {"cidr": "198.51.100.0/24"}}));
    let policy = v1(
        "games",
        &json!({"podSelector": {}, "ingress": [{"from": with_block}, {}]}),
    );
    let object: XdpPolicy = serde_json::from_value(json!({
        "apiVersion": API_VERSION,
        "kind": "XdpPolicy",
        "metadata": {"namespace": "games", "name": "players"},
        "spec": {"podSelector": {}, "ingress": [{"name": "r", "action": "Pass", "from": from}]},
    }))
    .expect("valid");
    let xdp = Policy::try_from(&object).expect("valid");
    let expected: Vec<_> = xdp.rules[0]
        .pod_sources()
        .map(|source| source.selection("games").id())
        .collect();
    let sets: Vec<_> = policy.selections().map(|(_, set)| set.clone()).collect();
    assert_eq!(sets, expected);
    assert_eq!(sets.len(), 3);
}

#[test]
fn a_rule_without_sources_is_about_all_and_one_with_sources_in_tiers_about_pods() {
    let policy = v1("games", &json!({"podSelector": {}, "ingress": [{}]}));
    assert_eq!(
        (policy.tier, policy.rules[0].from.clone()),
        (PolicyTier::NetworkPolicy, PolicySources::Any)
    );
    assert_eq!(policy.name.to_string(), "NetworkPolicy games/one");
    let ports = json!([{"destinationNamedPort": "web"}]);
    let rule = json!({"action": "Pass", "from": [{"namespaces": {}}], "protocols": ports});
    let spec = json!({
        "tier": "Baseline",
        "priority": 1000,
        "subject": {"namespaces": {}},
        "ingress": [rule],
    });
    let policy = cluster_network_policy("p", &spec)
        .expect("valid")
        .expect("about ingress");
    assert_eq!((policy.tier, policy.priority), (PolicyTier::Baseline, 1000));
    assert_eq!(policy.rules[0].action, PolicyAction::Pass);
    let named = |protocol| PolicyPort::Named {
        protocol,
        name: "web".into(),
    };
    assert_eq!(
        policy.rules[0].ports,
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].map(named)
    );
    assert_eq!(policy.selections().count(), 1);
}

#[test]
fn what_cannot_be_read_is_named_with_field_value_and_remedy() {
    let spec = json!({"priority": 5000, "subject": {"namespaces": {}}});
    let error = admin_network_policy("strict", &spec).unwrap_err();
    assert_eq!(
        error.to_string(),
        "AdminNetworkPolicy strict: `spec.priority` is `5000`: not a priority"
    );
    assert_eq!(error.policy.kind, ADMIN_NETWORK_POLICY);
    let problem = Problem::from(&*error);
    assert_eq!(
        (problem.object.as_str(), problem.reason.as_str()),
        ("AdminNetworkPolicy strict", "BadPriority")
    );
    assert!(problem.remedy.contains("correct the policy"), "{problem:?}");
    let spec =
        json!({"priority": 5, "subject": {"namespaces": {}}, "ingress": [{"action": "Allow", "to": []}]});
    let error = admin_network_policy("new", &spec).unwrap_err().to_string();
    assert!(
        error.contains("`spec.ingress[0]`") && error.contains("unknown field `to`"),
        "{error}"
    );
}

#[test]
fn kinds_of_other_groups_are_named_with_their_group() {
    let foreign = PolicyKind {
        group: "crd.antrea.io",
        kind: "NetworkPolicy",
    };
    assert_eq!(foreign.to_string(), "NetworkPolicy.crd.antrea.io");
    assert_eq!(ADMIN_NETWORK_POLICY.to_string(), "AdminNetworkPolicy");
}
