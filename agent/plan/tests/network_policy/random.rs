//! Random policies.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::fixture::{of_cluster, v1};

/// What random policies may have.
#[derive(Clone, Copy)]
pub(crate) struct Elements {
    /// Whether peers may be networks.
    pub(crate) blocks: bool,
    /// Whether policies may have equal priorities.
    pub(crate) equal_priorities: bool,
}

/// The policies of a cluster, with the administrator's in one of the versions of their API.
pub(crate) fn policies(elements: Elements) -> impl Strategy<Value = Vec<Value>> {
    let of_namespaces = vec(network_policy(elements.blocks), 0..=4);
    let of_cluster = prop_oneof![
        vec(cluster_network_policy(), 0..=3).boxed(),
        (vec(admin_network_policy(), 0..=3), option::of(baseline()))
            .prop_map(|(mut admin, baseline)| {
                admin.extend(baseline);
                admin
            })
            .boxed(),
    ];
    (of_namespaces, of_cluster).prop_map(move |(mut policies, of_cluster)| {
        policies.extend(of_cluster);
        for (index, policy) in policies.iter_mut().enumerate() {
            policy["metadata"]["name"] = json!(format!("p{index}"));
            let has_priority = policy["spec"].get("priority").is_some();
            if has_priority && !elements.equal_priorities {
                policy["spec"]["priority"] = json!((7 * index + 3) % 10);
            }
        }
        policies
    })
}

fn network_policy(blocks: bool) -> impl Strategy<Value = Value> {
    let types = select(vec![
        None,
        Some(json!(["Ingress"])),
        Some(json!(["Egress"])),
        Some(json!(["Ingress", "Egress"])),
    ]);
    let rule = (
        option::of(vec(peer(blocks), 0..=2)),
        option::of(vec(port(), 0..=2)),
    );
    let rule = rule.prop_map(|(from, ports)| without_nulls(json!({"from": from, "ports": ports})));
    (namespace(), selector(), types, option::of(vec(rule, 0..=3))).prop_map(
        |(namespace, pods, types, ingress)| {
            let spec = json!({"podSelector": pods, "policyTypes": types, "ingress": ingress});
            v1(namespace, "", &without_nulls(spec))
        },
    )
}

fn peer(blocks: bool) -> BoxedStrategy<Value> {
    let pods = prop_oneof![
        selector().prop_map(|pods| json!({"podSelector": pods})),
        namespaces().prop_map(|namespaces| json!({"namespaceSelector": namespaces})),
        (namespaces(), selector())
            .prop_map(|(namespaces, pods)| { json!({"namespaceSelector": namespaces, "podSelector": pods}) }),
    ];
    let block = select(vec![
        json!({"cidr": "0.0.0.0/0"}),
        json!({"cidr": "::/0"}),
        json!({"cidr": "10.1.0.0/16", "except": ["10.1.1.0/24"]}),
        json!({"cidr": "198.51.100.0/24", "except": ["198.51.100.64/26"]}),
        json!({"cidr": "192.0.0.0/2", "except": ["203.0.113.0/24", "198.51.100.7/32"]}),
        json!({"cidr": "2001:db8::/32"}),
    ]);
    let block = block.prop_map(|block| json!({"ipBlock": block}));
    if blocks {
        prop_oneof![pods, block].boxed()
    } else {
        pods.boxed()
    }
}

fn port() -> impl Strategy<Value = Value> {
    select(vec![
        json!({}),
        json!({"protocol": "UDP"}),
        json!({"port": 80}),
        json!({"port": 80, "endPort": 443}),
        json!({"protocol": "UDP", "port": 53, "endPort": 80}),
        json!({"port": "web"}),
        json!({"protocol": "UDP", "port": "dns"}),
        json!({"protocol": "UDP", "port": "web"}),
        json!({"port": "other"}),
        json!({"protocol": "SCTP", "port": 80}),
    ])
}

fn cluster_network_policy() -> impl Strategy<Value = Value> {
    let port = select(vec![
        json!({"tcp": {"destinationPort": {"number": 80}}}),
        json!({"tcp": {"destinationPort": {"range": {"start": 80, "end": 8080}}}}),
        json!({"udp": {"destinationPort": {"number": 53}}}),
        json!({"sctp": {"destinationPort": {"number": 80}}}),
        json!({"destinationNamedPort": "web"}),
    ]);
    let rules = vec(tier_rule("Accept", "protocols", port), 0..=3);
    let tier = select(vec!["Admin", "Admin", "Baseline"]);
    (tier, 0..3, subject(), rules).prop_map(|(tier, priority, subject, rules)| {
        let spec = json!({"tier": tier, "priority": priority, "subject": subject, "ingress": rules});
        of_cluster("ClusterNetworkPolicy", "", &spec)
    })
}

fn admin_network_policy() -> impl Strategy<Value = Value> {
    (0..3, subject(), vec(admin_rule(), 0..=3)).prop_map(|(priority, subject, rules)| {
        let spec = json!({"priority": priority, "subject": subject, "ingress": rules});
        of_cluster("AdminNetworkPolicy", "", &spec)
    })
}

fn baseline() -> impl Strategy<Value = Value> {
    (subject(), vec(admin_rule(), 0..=2)).prop_map(|(subject, mut rules)| {
        rules.retain(|rule| rule["action"] != "Pass");
        of_cluster(
            "BaselineAdminNetworkPolicy",
            "",
            &json!({"subject": subject, "ingress": rules}),
        )
    })
}

fn admin_rule() -> impl Strategy<Value = Value> {
    let port = select(vec![
        json!({"portNumber": {"protocol": "TCP", "port": 80}}),
        json!({"portRange": {"protocol": "UDP", "start": 53, "end": 100}}),
        json!({"portRange": {"start": 80, "end": 443}}),
        json!({"namedPort": "dns"}),
    ]);
    tier_rule("Allow", "ports", port)
}

fn tier_rule(
    accept: &'static str,
    field: &'static str,
    port: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Value> {
    let action = select(vec![accept, "Deny", "Pass"]);
    (action, vec(subject(), 1..=2), option::of(vec(port, 1..=2))).prop_map(move |(action, from, ports)| {
        without_nulls(json!({"name": "r", "action": action, "from": from, field: ports}))
    })
}

fn subject() -> impl Strategy<Value = Value> {
    prop_oneof![
        namespaces().prop_map(|namespaces| json!({"namespaces": namespaces})),
        (namespaces(), selector()).prop_map(|(namespaces, pods)| {
            json!({"pods": {"namespaceSelector": namespaces, "podSelector": pods}})
        }),
    ]
}

fn namespace() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "c"])
}

fn namespaces() -> impl Strategy<Value = Value> {
    select(vec![
        json!({}),
        json!({"matchLabels": {"team": "red"}}),
        json!({"matchLabels": {"kubernetes.io/metadata.name": "c"}}),
        json!({"matchExpressions": [{"key": "team", "operator": "Exists"}]}),
        json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["red"]}]}),
    ])
}

fn selector() -> impl Strategy<Value = Value> {
    select(vec![
        json!({}),
        json!({"matchLabels": {"app": "x"}}),
        json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "y"]}]}),
        json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]}),
        json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}),
    ])
}

fn without_nulls(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| !field.is_null());
    }
    value
}
