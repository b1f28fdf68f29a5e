//! Generates policies and pods as users write them.

mod ports;

use std::net::IpAddr;

use k8s_openapi::{
    api::core::v1 as k8s,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use ports::{containers, port};
use proptest::{collection::vec, option, prelude::*, sample::select};
use xdp_crds::{
    Delivery, Enforcement, IngressRule, IpBlock, LabelSelector, LabelSelectorOperator,
    LabelSelectorRequirement, LimitPer, NetworkPolicyMode, Peer, RateLimit, RuleAction, XdpPolicy,
    XdpPolicySpec,
    network_policy::{
        IngressPolicy, NETWORK_POLICY, PolicyAction, PolicyName, PolicyPeer, PolicyPort, PolicyRule,
        PolicySources, PolicyTier,
    },
    policy::{Block, PodSelection, Protocol, SelectedNamespaces, Selector},
};

/// Namespace of all generated objects.
pub const NAMESPACE: &str = "games";

/// Networks, each with parts for `except`.
const BLOCKS: [(&str, &[&str]); 11] = [
    (
        "0.0.0.0/0",
        &["10.0.0.0/8", "255.255.255.255/32", "0.0.0.0/32", "128.0.0.0/1"],
    ),
    ("10.0.0.0/8", &["10.1.0.0/16", "10.1.2.3/32", "10.0.0.0/8"]),
    ("10.1.2.0/24", &["10.1.2.0/25", "10.1.2.3/32"]),
    ("10.1.2.3/32", &["10.1.2.3/32"]),
    ("0.0.0.0/32", &[]),
    ("255.255.255.255/32", &[]),
    ("::/0", &["2001:db8::/32", "::/128", "8000::/1"]),
    ("::/16", &["::/128"]),
    ("2001:db8::/32", &["2001:db8:1::/48", "2001:db8::3/128"]),
    ("2001:db8:1::/48", &["2001:db8:1::/64"]),
    ("2001:db8::3/128", &[]),
];

const V4_SOURCES: [&str; 9] = [
    "0.0.0.0",
    "255.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "10.1.2.3",
    "10.1.2.4",
    "10.1.2.128",
    "11.0.0.0",
    "203.0.113.9",
];
const V6_SOURCES: [&str; 8] = [
    "::",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db8::3",
    "2001:db8::4",
    "2001:db8:1::",
    "2001:db8:1:1::1",
    "2001:db9::",
    "::ffff:10.1.2.3",
];

/// Generates a source address near the bounds of the networks.
///
/// # Panics
///
/// Never panics: all texts are addresses.
pub fn source(v6: bool) -> impl Strategy<Value = IpAddr> {
    let known = if v6 {
        V6_SOURCES.to_vec()
    } else {
        V4_SOURCES.to_vec()
    };
    select(known).prop_map(|text| text.parse().expect("an address"))
}

/// Generates up to three policies with up to four rules each.
pub fn policies() -> impl Strategy<Value = Vec<XdpPolicy>> {
    vec(policy(), 0..=3).prop_map(|mut policies| {
        for (policy, name) in policies.iter_mut().zip(["b", "a", "c"]) {
            policy.metadata.name = Some(name.into());
        }
        policies
    })
}

fn policy() -> impl Strategy<Value = XdpPolicy> {
    let enforcement = prop_oneof![4 => Just(Enforcement::Enforce), 1 => Just(Enforcement::Audit)];
    let created = option::of(select(vec!["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]));
    let priority = select(vec![0, 500, 500, 1000]);
    let delivery = prop_oneof![2 => Just(Delivery::Redirect), 1 => Just(Delivery::Peer)];
    let network_policy =
        prop_oneof![4 => Just(NetworkPolicyMode::Honour), 1 => Just(NetworkPolicyMode::Ignore)];
    let manner = (enforcement, delivery, network_policy);
    (selector(), priority, created, manner, vec(rule(), 0..=4)).prop_map(
        |(pod_selector, priority, created, (enforcement, delivery, network_policy), mut ingress)| {
            for (index, rule) in ingress.iter_mut().enumerate() {
                rule.name = format!("rule-{index}");
            }
            XdpPolicy {
                metadata: ObjectMeta {
                    namespace: Some(NAMESPACE.into()),
                    creation_timestamp: created.map(|time| {
                        Time::from(time.parse::<k8s_openapi::jiff::Timestamp>().expect("a time"))
                    }),
                    ..ObjectMeta::default()
                },
                spec: XdpPolicySpec {
                    network_policy,
                    pod_selector,
                    node_selector: None,
                    priority,
                    enforcement,
                    delivery,
                    ingress,
                },
                status: None,
            }
        },
    )
}

fn selector() -> impl Strategy<Value = LabelSelector> {
    use LabelSelectorOperator::{DoesNotExist, Exists, In, NotIn};
    let expression = select(vec![
        (In, vec!["game", "db"]),
        (NotIn, vec!["web"]),
        (Exists, vec![]),
        (DoesNotExist, vec![]),
    ]);
    let expression = expression.prop_map(|(operator, values)| LabelSelector {
        match_expressions: vec![LabelSelectorRequirement {
            key: "app".into(),
            operator,
            values: values.into_iter().map(Into::into).collect(),
        }],
        ..LabelSelector::default()
    });
    let label = Just(LabelSelector {
        match_labels: [("app".into(), "game".into())].into(),
        ..LabelSelector::default()
    });
    prop_oneof![3 => Just(LabelSelector::default()), 1 => label, 2 => expression]
}

fn rule() -> impl Strategy<Value = IngressRule> {
    let action = select(vec![
        RuleAction::Redirect,
        RuleAction::Pass,
        RuleAction::Drop,
        RuleAction::Reject,
    ]);
    let mark = option::of(select(vec![0, 42, i64::from(u32::MAX)]));
    let limit = option::weighted(0.2, rate_limit());
    (vec(peer(), 0..=2), vec(port(), 0..=3), action, mark, limit).prop_map(
        |(from, ports, action, mark, limit)| IngressRule {
            name: String::new(),
            from,
            ports,
            action,
            mark: mark.filter(|_| action == RuleAction::Redirect),
            rate_limit: limit.filter(|_| matches!(action, RuleAction::Redirect | RuleAction::Pass)),
        },
    )
}

fn rate_limit() -> impl Strategy<Value = RateLimit> {
    let per = select(vec![LimitPer::Rule, LimitPer::Source]);
    let burst = option::of(select(vec![1, 10_000_000]));
    (select(vec![1, 1_000, 100_000_000]), burst, per).prop_map(|(packets_per_second, burst, per)| RateLimit {
        packets_per_second,
        burst: burst.map(|burst: i64| burst.min(60 * packets_per_second)),
        per: Some(per),
    })
}

fn peer() -> impl Strategy<Value = Peer> {
    (select(BLOCKS.to_vec()), any::<u8>()).prop_map(|((cidr, parts), chosen)| {
        let chosen = parts
            .iter()
            .enumerate()
            .filter(|(index, _)| chosen & 1 << index != 0);
        Peer {
            ip_block: Some(IpBlock {
                cidr: cidr.into(),
                except: chosen.map(|(_, part)| (*part).into()).take(2).collect(),
            }),
            ..Peer::default()
        }
    })
}

/// Generates NetworkPolicies that select all pods of the namespace, by networks and ports.
///
/// # Panics
///
/// Never panics: all texts are networks.
pub fn network_policies() -> impl Strategy<Value = Vec<IngressPolicy>> {
    let block = select(BLOCKS.to_vec()).prop_map(|(cidr, _)| {
        PolicyPeer::Block(Block {
            cidr: cidr.parse().expect("a network"),
            except: Vec::new(),
        })
    });
    let from = prop_oneof![
        1 => Just(PolicySources::Any),
        4 => vec(block, 1..=3).prop_map(PolicySources::Listed),
    ];
    let protocol = select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    let bounds = select(vec![0, 53, 80, 443, 7777, 7790, u16::MAX]);
    let ports = (protocol, bounds, 0..2000_u16).prop_map(|(protocol, first, more)| PolicyPort::Range {
        protocol,
        ports: first..=first.saturating_add(more),
    });
    let rule = (from, vec(ports, 0..=2)).prop_map(|(from, ports)| PolicyRule {
        action: PolicyAction::Accept,
        from,
        ports,
    });
    let policy = vec(rule, 0..=3).prop_map(|rules| IngressPolicy {
        name: PolicyName {
            kind: NETWORK_POLICY,
            namespace: Some(NAMESPACE.into()),
            name: "n".into(),
        },
        subject: PodSelection {
            namespaces: SelectedNamespaces::Named(NAMESPACE.into()),
            pods: Selector::default(),
        },
        tier: PolicyTier::NetworkPolicy,
        priority: 0,
        rules,
    });
    vec(policy, 0..=2)
}

/// Generates a pod with these addresses.
pub fn pod(name: &'static str, addresses: Vec<IpAddr>) -> impl Strategy<Value = k8s::Pod> {
    let app = option::of(select(vec!["game", "web"]));
    (app, containers()).prop_map(move |(app, containers)| k8s::Pod {
        metadata: ObjectMeta {
            namespace: Some(NAMESPACE.into()),
            name: Some(name.into()),
            uid: Some(format!("uid-{name}")),
            labels: app.map(|app| [("app".to_owned(), app.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(k8s::PodSpec {
            containers,
            ..k8s::PodSpec::default()
        }),
        status: Some(k8s::PodStatus {
            pod_ips: Some(
                addresses
                    .iter()
                    .map(|ip| k8s::PodIP { ip: ip.to_string() })
                    .collect(),
            ),
            ..k8s::PodStatus::default()
        }),
    })
}
