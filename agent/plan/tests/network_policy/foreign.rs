//! Which pods a policy of another engine might restrict.

use serde_json::{Value, json};
use xdp_plan::{
    network_policy::{Certainty, FOREIGN_KINDS, ForeignPolicy},
    policy::Protocol::Tcp,
};

use super::fixture::Cluster;

/// All pods of the cluster that can be targets: `x1` and `y1` in `a` (team red), `x2` and `y2` in `b` (team
/// blue), `none` and `y3` in `c`.
const ALL: [&str; 6] = ["x1", "y1", "x2", "y2", "none", "y3"];
const IN_A: [&str; 2] = ["x1", "y1"];
const NONE: [&str; 0] = [];

fn read(group: &str, kind: &str, namespace: Option<&str>, content: &Value) -> ForeignPolicy {
    let found = FOREIGN_KINDS
        .iter()
        .find(|one| one.kind.group == group && one.kind.kind == kind)
        .expect("valid");
    assert_eq!(found.namespaced, namespace.is_some());
    found.read(namespace, "p", content)
}

/// Returns the pods that a policy might restrict.
fn restricted(policy: &ForeignPolicy) -> Vec<&'static str> {
    let cluster = Cluster::new(Vec::new());
    let known = cluster.known();
    let may_restrict = |name: &&str| {
        let pod = cluster.pod(name);
        policy.may_restrict(&pod, known.namespaces.get(&pod.namespace))
    };
    ALL.into_iter().filter(may_restrict).collect()
}

fn calico(spec: &Value) -> Vec<&'static str> {
    let of = |group| restricted(&read(group, "GlobalNetworkPolicy", None, &json!({"spec": spec})));
    assert_eq!(of("projectcalico.org"), of("crd.projectcalico.org"));
    of("projectcalico.org")
}

fn cilium(spec: &Value) -> Vec<&'static str> {
    let content = json!({"spec": spec});
    restricted(&read(
        "cilium.io",
        "CiliumClusterwideNetworkPolicy",
        None,
        &content,
    ))
}

fn antrea(spec: &Value) -> Vec<&'static str> {
    restricted(&read(
        "crd.antrea.io",
        "ClusterNetworkPolicy",
        None,
        &json!({"spec": spec}),
    ))
}

#[test]
fn a_calico_selector_selects_by_labels_of_the_pod_and_of_its_namespace() {
    for (selector, expected) in [
        ("", &ALL[..]),
        (" all() ", &ALL),
        ("app == 'x'", &["x1", "x2"]),
        ("app=='x'&&tier==\"1\"", &["x1"]),
        ("app != 'x'", &["y1", "y2", "none", "y3"]),
        ("has(tier)", &["x1", "y2", "y3"]),
        ("!has( tier )", &["y1", "x2", "none"]),
        ("!!has(tier)", &["x1", "y2", "y3"]),
        ("app in {'x', 'z'}", &["x1", "x2"]),
        ("app not in {'x'}", &["y1", "y2", "none", "y3"]),
        ("app in {}", &NONE),
        ("has(tier) && app == 'x' || app == 'none'", &["x1"]),
        ("(app == 'y' || app == 'x') && tier == '1'", &["x1", "y3"]),
        ("!(app == 'y' || app == 'x')", &["none"]),
        ("tier starts with '1' || tier ends with '2'", &["x1", "y2", "y3"]),
        ("app contains 'x'", &["x1", "x2"]),
        ("projectcalico.org/namespace == 'a'", &IN_A),
        ("projectcalico.org/orchestrator == 'k8s'", &ALL),
        ("pcns.team == 'red'", &IN_A),
        ("has(host-endpoint)", &NONE),
    ] {
        assert_eq!(calico(&json!({"selector": selector})), expected, "{selector}");
    }
}

#[test]
fn a_calico_selector_that_cannot_be_read_might_select_every_pod() {
    let deep = format!("{}has(a){}", "(".repeat(100), ")".repeat(100));
    for selector in [
        "app",
        "app = 'x'",
        "app == x",
        "app == 'x",
        "app == 'x' &&",
        "app like 'x'",
        "(app == 'x'",
        "app == 'x')",
        "app in {'x'",
        "app starts 'x'",
        "has(app",
        "has()",
        "€ == 'x'",
        &deep,
    ] {
        assert_eq!(calico(&json!({"selector": selector})), ALL, "{selector}");
        let content = json!({"spec": {"selector": selector}});
        let in_a = read("crd.projectcalico.org", "NetworkPolicy", Some("a"), &content);
        assert_eq!(restricted(&in_a), IN_A, "{selector}");
    }
    assert_eq!(calico(&json!({"selector": 7})), ALL);
}

#[test]
fn a_calico_policy_about_hosts_or_egress_or_other_namespaces_restricts_no_pod() {
    let all = json!("all()");
    for (spec, expected) in [
        (
            json!({"selector": "has(host-endpoint)", "types": ["Ingress", "Egress"]}),
            &NONE[..],
        ),
        (json!({"selector": all, "types": ["Egress"]}), &NONE),
        (json!({"selector": all, "egress": [{"action": "Deny"}]}), &NONE),
        (json!({"selector": all, "egress": [{}], "ingress": [{}]}), &ALL),
        (
            json!({"selector": all, "types": ["Ingress"], "tier": "security"}),
            &ALL,
        ),
        (
            json!({"selector": all, "namespaceSelector": "team == 'red'"}),
            &IN_A,
        ),
        (
            json!({"selector": all, "namespaceSelector": "projectcalico.org/name not in {'b', 'c'}"}),
            &IN_A,
        ),
        (json!({"selector": all, "namespaceSelector": "global()"}), &NONE),
        (
            json!({"selector": "app == 'x'", "serviceAccountSelector": "has(role)"}),
            &["x1", "x2"],
        ),
        (
            json!({"selector": "has(host-endpoint)", "applyOnForward": true}),
            &ALL,
        ),
        (
            json!({"selector": "has(host-endpoint)", "applyOnForward": false}),
            &NONE,
        ),
        (json!({"selector": "has(host-endpoint)", "preDNAT": true}), &ALL),
    ] {
        assert_eq!(calico(&spec), expected, "{spec}");
    }
}

#[test]
fn policies_that_calico_derives_from_those_of_kubernetes_count_once() {
    let kind = &FOREIGN_KINDS[0];
    let content = json!({"spec": {"selector": "all()"}});
    assert_eq!(
        restricted(&kind.read(Some("a"), "knp.default.deny-all", &content)),
        NONE
    );
    assert_eq!(
        restricted(&kind.read(Some("a"), "default.deny-all", &content)),
        IN_A
    );
    let stored = FOREIGN_KINDS
        .iter()
        .find(|kind| kind.kind.group == "crd.projectcalico.org");
    let stored = stored
        .expect("valid")
        .read(Some("a"), "knp.default.deny-all", &content);
    assert_eq!(
        restricted(&stored),
        IN_A,
        "Calico does not store derived policies"
    );
}

#[test]
fn a_cilium_selector_selects_by_labels_of_any_source() {
    let by_labels =
        |labels: Value| cilium(&json!({"endpointSelector": {"matchLabels": labels}, "ingress": [{}]}));
    for (labels, expected) in [
        (json!({}), &ALL[..]),
        (json!({"app": "x"}), &["x1", "x2"]),
        (json!({"any:app": "x"}), &["x1", "x2"]),
        (json!({"k8s:app": "x", "tier": "1"}), &["x1"]),
        (json!({"k8s:io.kubernetes.pod.namespace": "a"}), &IN_A),
        (json!({"io.cilium.k8s.namespace.labels.team": "red"}), &IN_A),
        (json!({"reserved:host": ""}), &NONE),
        (json!({"reserved:init": ""}), &ALL),
        (json!({"io.cilium.k8s.policy.serviceaccount": "s"}), &ALL),
        (json!({"container:app": "x"}), &ALL),
    ] {
        assert_eq!(by_labels(labels.clone()), expected, "{labels}");
    }
}

#[test]
fn a_cilium_policy_in_a_namespace_selects_only_there_whatever_it_says_of_namespaces() {
    for key in [
        "k8s:io.kubernetes.pod.namespace",
        "io.cilium.k8s.namespace.labels.team",
    ] {
        let content = json!({"spec": {"endpointSelector": {"matchLabels": {key: "b"}}, "ingress": [{}]}});
        assert_eq!(
            restricted(&read("cilium.io", "CiliumNetworkPolicy", Some("a"), &content)),
            IN_A,
            "{key}"
        );
    }
}

#[test]
fn cilium_may_leave_labels_out_but_not_the_name_of_the_namespace() {
    let excluding = |key: &str, values: &[&str]| {
        let expression = json!({"key": key, "operator": "NotIn", "values": values});
        cilium(&json!({"endpointSelector": {"matchExpressions": [expression]}, "ingress": [{}]}))
    };
    assert_eq!(excluding("app", &["x"]), ALL);
    assert_eq!(excluding("k8s:io.kubernetes.pod.namespace", &["b", "c"]), IN_A);
    let absent = json!({"key": "k8s:io.kubernetes.pod.namespace", "operator": "DoesNotExist"});
    let absent = json!({"endpointSelector": {"matchExpressions": [absent]}, "ingress": [{}]});
    assert_eq!(cilium(&absent), NONE);
}

#[test]
fn a_cilium_policy_may_deny_by_default_without_rules() {
    for (denies, expected) in [
        (json!(true), &ALL[..]),
        (json!(false), &NONE),
        (json!("later"), &ALL),
    ] {
        let spec = json!({"endpointSelector": {}, "egress": [{}], "enableDefaultDeny": {"ingress": denies}});
        assert_eq!(cilium(&spec), expected, "{spec}");
    }
    let spec = json!({"endpointSelector": {}, "egress": [{}], "enableDefaultDeny": {"egress": true}});
    assert_eq!(cilium(&spec), NONE);
}

#[test]
fn a_cilium_policy_restricts_ingress_only_with_ingress_rules_and_pods_only_with_an_endpoint_selector() {
    let all = json!({});
    for (spec, expected) in [
        (json!({"endpointSelector": all, "egress": [{}]}), &NONE[..]),
        (json!({"endpointSelector": all, "ingress": []}), &NONE),
        (
            json!({"endpointSelector": all, "ingressDeny": [{"fromEntities": ["all"]}]}),
            &ALL,
        ),
        (json!({"nodeSelector": all, "ingress": [{}]}), &NONE),
        (json!({"ingress": [{}]}), &ALL),
        (
            json!({"endpointSelector": {"matchLabel": {}}, "ingress": [{}]}),
            &ALL,
        ),
    ] {
        assert_eq!(cilium(&spec), expected, "{spec}");
    }
    let x = json!({"endpointSelector": {"matchLabels": {"app": "x"}}, "ingress": [{}]});
    let y = json!({"endpointSelector": {"matchLabels": {"app": "y"}}, "ingress": [{}]});
    let many = json!({"specs": [x, y]});
    let kind = |content: &Value| read("cilium.io", "CiliumNetworkPolicy", Some("a"), content);
    assert_eq!(restricted(&kind(&many)), IN_A);
    assert_eq!(restricted(&kind(&json!({"spec": x}))), ["x1"]);
    assert_eq!(restricted(&kind(&json!({"specs": "x"}))), IN_A);
}

#[test]
fn an_antrea_policy_restricts_the_pods_that_it_or_a_rule_is_applied_to() {
    let x = json!({"podSelector": {"matchLabels": {"app": "x"}}});
    let red = json!({"namespaceSelector": {"matchLabels": {"team": "red"}}});
    let mut both = x.clone();
    both["namespaceSelector"] = red["namespaceSelector"].clone();
    let of_policy =
        |applied: &Value| antrea(&json!({"appliedTo": [applied], "ingress": [{"action": "Drop"}]}));
    assert_eq!(of_policy(&x), ["x1", "x2"]);
    assert_eq!(of_policy(&red), IN_A);
    assert_eq!(of_policy(&both), ["x1"]);
    assert_eq!(of_policy(&json!({"nodeSelector": {}})), NONE);
    assert_eq!(of_policy(&json!({"group": "g"})), ALL);
    assert_eq!(
        of_policy(&json!({"serviceAccount": {"name": "s", "namespace": "a"}})),
        IN_A
    );
    assert_eq!(of_policy(&json!({})), ALL);
    for (spec, expected) in [
        (json!({"appliedTo": [x], "egress": [{}]}), &NONE[..]),
        (
            json!({"ingress": [{"appliedTo": [x]}, {"appliedTo": [red]}]}),
            &["x1", "y1", "x2"],
        ),
        (json!({"ingress": [{"appliedTo": [x]}, {}]}), &ALL),
    ] {
        assert_eq!(antrea(&spec), expected, "{spec}");
    }
    let content = json!({"spec": {"appliedTo": [x], "ingress": [{}]}});
    assert_eq!(
        restricted(&read("crd.antrea.io", "NetworkPolicy", Some("a"), &content)),
        ["x1"]
    );
}

#[test]
fn a_policy_of_amazon_restricts_the_pods_of_its_subject() {
    let kind = |spec: Value| {
        let content = json!({"spec": spec});
        restricted(&read(
            "networking.k8s.aws",
            "ClusterNetworkPolicy",
            None,
            &content,
        ))
    };
    let red = json!({"matchLabels": {"team": "red"}});
    let x = json!({"matchLabels": {"app": "x"}});
    for (subject, expected) in [
        (json!({"namespaces": red}), &IN_A[..]),
        (json!({"pods": {"podSelector": x}}), &["x1", "x2"]),
        (
            json!({"pods": {"namespaceSelector": red, "podSelector": x}}),
            &["x1"],
        ),
        (json!({"pods": {"podSelector": x, "later": {}}}), &ALL),
        (json!({"namespaces": red, "pods": {"podSelector": x}}), &ALL),
        (json!({"later": {}}), &ALL),
        (json!({}), &ALL),
    ] {
        let spec = json!({"tier": "Admin", "subject": subject, "ingress": [{"action": "Deny"}]});
        assert_eq!(kind(spec), expected, "{subject}");
    }
    assert_eq!(kind(json!({"subject": {"namespaces": {}}, "egress": [{}]})), NONE);
    let content = json!({"spec": {"podSelector": x, "policyTypes": ["Ingress"]}});
    let of_namespace = read(
        "networking.k8s.aws",
        "ApplicationNetworkPolicy",
        Some("a"),
        &content,
    );
    assert_eq!(restricted(&of_namespace), ["x1"]);
}

#[test]
fn a_multi_network_policy_restricts_as_a_network_policy() {
    let of = |spec: Value| {
        let content = json!({"spec": spec});
        restricted(&read(
            "k8s.cni.cncf.io",
            "MultiNetworkPolicy",
            Some("a"),
            &content,
        ))
    };
    assert_eq!(of(json!({"podSelector": {}})), IN_A);
    assert_eq!(of(json!({"podSelector": {"matchLabels": {"app": "x"}}})), ["x1"]);
    assert_eq!(of(json!({"podSelector": {}, "policyTypes": ["Egress"]})), NONE);
    assert_eq!(of(json!({})), IN_A);
}

#[test]
fn unknown_labels_of_a_namespace_might_be_any() {
    let cluster = Cluster::new(Vec::new());
    let of_red = json!({"spec": {"namespaceSelector": "team == 'red'"}});
    let policy = read("crd.projectcalico.org", "GlobalNetworkPolicy", None, &of_red);
    assert!(policy.may_restrict(&cluster.pod("none"), None));
    let of_red_x = json!({"spec": {"namespaceSelector": "team == 'red'", "selector": "app == 'x'"}});
    let policy = read("crd.projectcalico.org", "GlobalNetworkPolicy", None, &of_red_x);
    assert!(!policy.may_restrict(&cluster.pod("none"), None));
}

#[test]
fn nothing_is_certain_for_a_pod_that_a_foreign_policy_might_restrict() {
    let cluster = Cluster::new(Vec::new());
    let mut known = cluster.known();
    let content = json!({"spec": {"endpointSelector": {"matchLabels": {"app": "x"}}, "ingress": [{}]}});
    known.foreign = vec![read("cilium.io", "CiliumNetworkPolicy", Some("a"), &content)];
    let source = "198.51.100.7".parse().expect("valid");
    let of = |pod: &str| known.facts().of(&cluster.pod(pod)).certainty(source, Tcp, 80);
    let Certainty::NotCertain(why) = of("x1") else {
        panic!("certain");
    };
    assert_eq!(why.to_string(), "CiliumNetworkPolicy.cilium.io a/p (Foreign)");
    assert_eq!(of("y1"), Certainty::Certain);
}
