//! Tests of validation and of its messages.

use k8s_openapi::api::core::v1 as k8s;
use serde_json::{Value, json};
use xdp_crds::{
    API_VERSION, XdpPolicy,
    pod::Pod,
    policy::{Delivery, LimitPer, PacketRateLimit, Policy, PolicyError, PortMatch, PortSet, Protocol},
};

fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn read(spec: &Value) -> Result<Policy, PolicyError> {
    let object =
        json!({"apiVersion": API_VERSION, "kind": "XdpPolicy", "metadata": {"name": "a"}, "spec": spec});
    let object: XdpPolicy = must(serde_json::from_value(object));
    Policy::try_from(&object)
}

fn ports(ports: &Value) -> Vec<PortMatch> {
    let rule = json!({"name": "a", "action": "Drop", "ports": ports});
    let policy = read(&json!({"podSelector": {}, "ingress": [rule]}));
    must(policy).rules.remove(0).ports
}

fn limit(limit: &Value) -> Option<PacketRateLimit> {
    let rule = json!({"name": "a", "action": "Pass", "rateLimit": limit});
    let policy = read(&json!({"podSelector": {}, "ingress": [rule]}));
    must(policy).rules.remove(0).rate_limit
}

#[test]
fn a_port_is_a_number_a_range_or_a_name() {
    let udp = |ports| PortMatch {
        protocol: Protocol::Udp,
        ports,
    };
    let written = json!([
        {"protocol": "UDP"},
        {"protocol": "UDP", "port": 65535},
        {"protocol": "UDP", "port": 0, "endPort": 65535},
        {"protocol": "UDP", "port": "dns"},
    ]);
    let expected = [
        udp(PortSet::Any),
        udp(PortSet::Range(65535..=65535)),
        udp(PortSet::Range(0..=65535)),
        udp(PortSet::Named("dns".into())),
    ];
    assert_eq!(ports(&written), expected);
}

#[test]
fn an_icmp_message_has_a_type_and_optionally_a_code() {
    let written = json!([
        {"protocol": "ICMP"},
        {"protocol": "ICMP", "type": 8},
        {"protocol": "ICMPv6", "type": 1, "code": 4},
    ]);
    let found: Vec<PortSet> = ports(&written).into_iter().map(|port| port.ports).collect();
    let expected = [
        PortSet::Any,
        PortSet::Icmp { kind: 8, code: None },
        PortSet::Icmp {
            kind: 1,
            code: Some(4),
        },
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_absent_burst_is_a_tenth_of_the_rate_and_at_least_one() {
    let of = |rate: u32| limit(&json!({"packetsPerSecond": rate})).unwrap();
    let bursts = [1, 9, 10, 19, 200_000, 100_000_000].map(|rate| of(rate).burst);
    assert_eq!(bursts, [1, 1, 1, 1, 20_000, 10_000_000]);
    assert_eq!(of(7).per, LimitPer::Rule);
}

#[test]
fn a_limit_keeps_its_values() {
    let written = json!({"packetsPerSecond": 5, "burst": 100, "per": "Source"});
    let expected = PacketRateLimit {
        packets_per_second: 5,
        burst: 100,
        per: LimitPer::Source,
    };
    assert_eq!(limit(&written), Some(expected));
}

#[test]
fn the_default_delivery_is_redirect() {
    let delivery = |spec: Value| read(&spec).unwrap().delivery;
    assert_eq!(delivery(json!({"podSelector": {}})), Delivery::Redirect);
    assert_eq!(
        delivery(json!({"podSelector": {}, "delivery": "Peer"})),
        Delivery::Peer
    );
}

#[test]
fn a_refusal_has_a_remedy() {
    let refused = |rule: Value| {
        let error = read(&json!({"podSelector": {}, "ingress": [rule]})).unwrap_err();
        format!("{}: {}: {}", error.field, error.fault, error.fault.remedy())
    };
    let port = |port: Value| refused(json!({"name": "a", "action": "Drop", "ports": [port]}));
    assert_eq!(
        port(json!({"protocol": "TCP", "port": "80"})),
        "spec.ingress[0].ports[0].port: not the name of a container port: use 1 to 15 lower-case letters, digits and \
         single hyphens, with at least one letter, beginning and ending with a letter or digit; write a number without \
         quotes"
    );
    assert_eq!(
        port(json!({"protocol": "ICMP", "port": 8})),
        "spec.ingress[0].ports[0].port: ICMP has no ports: remove `port` and `endPort`, or use TCP, UDP or SCTP; for a \
         type of message use `type`"
    );
    assert_eq!(
        refused(json!({"name": "a", "action": "Pass", "rateLimit": {"packetsPerSecond": 1, "burst": 0}})),
        "spec.ingress[0].rateLimit.burst: not in 1 to 10000000: use a number from 1 to 10000000"
    );
    assert_eq!(
        refused(json!({"name": "a", "action": "Pass", "rateLimit": {"packetsPerSecond": 2, "burst": 121}})),
        "spec.ingress[0].rateLimit.burst: more than packetsPerSecond lets through in a minute: use at most 120, 60 times \
         packetsPerSecond"
    );
    assert_eq!(
        refused(json!({"name": "a", "action": "Reject", "rateLimit": {"packetsPerSecond": 1}})),
        "spec.ingress[0].rateLimit: only packets that are redirected or passed can be limited: remove the rate limit, \
         or use `action: Redirect` or `action: Pass`"
    );
}

fn pod(spec: &Value) -> Pod {
    let object = json!({"metadata": {"name": "p"}, "spec": spec});
    let object: k8s::Pod = must(serde_json::from_value(object));
    must(Pod::try_from(&object))
}

#[test]
fn a_port_name_belongs_to_a_protocol_and_the_first_container_that_has_it() {
    let pod = pod(&json!({"containers": [
        {"name": "a", "ports": [
            {"name": "dns", "containerPort": 53}, {"name": "dns", "containerPort": 5353, "protocol": "UDP"},
        ]},
        {"name": "b", "ports": [{"name": "dns", "containerPort": 54}, {"containerPort": 80}]},
    ]}));
    let expected = [
        (("dns".to_owned(), Protocol::Tcp), 53),
        (("dns".to_owned(), Protocol::Udp), 5353),
    ];
    assert_eq!(pod.ports, expected.into());
}

#[test]
fn host_ports_are_those_of_containers_and_sidecars() {
    let pod = pod(&json!({
        "initContainers": [
            {"name": "a", "ports": [{"containerPort": 1, "hostPort": 1}]},
            {"name": "b", "restartPolicy": "Always",
                "ports": [{"containerPort": 2, "hostPort": 9002, "protocol": "UDP"}]},
        ],
        "containers": [{"name": "c", "ports": [
            {"containerPort": 3, "hostPort": 9003}, {"containerPort": 4}, {"containerPort": 5, "hostPort": 0},
        ]}],
    }));
    assert_eq!(
        pod.host_ports,
        [(Protocol::Tcp, 9003), (Protocol::Udp, 9002)].into()
    );
}

#[test]
fn of_init_containers_only_sidecars_have_ports() {
    let port = |name: &str, number: u16| json!([{"name": name, "containerPort": number}]);
    let pod = pod(&json!({
        "initContainers": [
            {"name": "a", "ports": port("once", 1)},
            {"name": "b", "restartPolicy": "Always", "ports": port("sidecar", 2)},
            {"name": "c", "restartPolicy": "Always", "ports": port("main", 3)},
        ],
        "containers": [{"name": "d", "ports": port("main", 4)}],
    }));
    let expected = [
        (("main".to_owned(), Protocol::Tcp), 4),
        (("sidecar".to_owned(), Protocol::Tcp), 2),
    ];
    assert_eq!(pod.ports, expected.into());
}
