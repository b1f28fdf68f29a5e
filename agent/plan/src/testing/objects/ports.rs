//! Generates ports of rules and of containers.

use k8s_openapi::api::core::v1 as k8s;
use proptest::{collection::vec, option, prelude::*, sample::select};
use xdp_crds::{IntOrString, Port, Protocol};

pub(super) fn port() -> impl Strategy<Value = Port> {
    let with_ports = select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    let icmp = select(vec![Protocol::Icmp, Protocol::Icmpv6]);
    let types = (
        option::of(select(vec![0, 2, 3, 8, 128, 255])),
        option::of(select(vec![0, 4, 255])),
    );
    let icmp = (icmp, types).prop_map(|(protocol, (kind, code))| Port {
        kind,
        code: code.filter(|_| kind.is_some()),
        ..any_of(protocol)
    });
    let number = select(vec![0, 53, 80, 7777, 65535]);
    let numbers = (
        with_ports.clone(),
        option::of(number),
        option::of(select(vec![0, 1, 13, 65535])),
    );
    let numbers = numbers.prop_map(|(protocol, port, more)| Port {
        port: port.map(IntOrString::Int),
        end_port: port.and_then(|port| more.map(|more| (port + more).min(65535))),
        ..any_of(protocol)
    });
    let names = (with_ports, select(vec!["http", "game", "unknown"])).prop_map(|(protocol, name)| Port {
        port: Some(IntOrString::String(name.into())),
        ..any_of(protocol)
    });
    prop_oneof![3 => numbers, 1 => names, 2 => icmp]
}

const fn any_of(protocol: Protocol) -> Port {
    Port {
        protocol,
        port: None,
        end_port: None,
        kind: None,
        code: None,
    }
}

/// Containers with named ports. Of several ports with one name, the first one is used.
pub(super) fn containers() -> impl Strategy<Value = Vec<k8s::Container>> {
    let port = |name: &str, protocol: Option<&str>, number| k8s::ContainerPort {
        name: Some(name.into()),
        protocol: protocol.map(Into::into),
        container_port: number,
        ..k8s::ContainerPort::default()
    };
    let ports = vec![
        port("http", None, 80),
        port("http", Some("TCP"), 7777),
        port("http", Some("UDP"), 53),
        port("game", Some("UDP"), 7777),
        port("game", Some("SCTP"), 65535),
    ];
    vec(select(ports), 0..4).prop_map(|ports| {
        let container = |port| k8s::Container {
            ports: Some(vec![port]),
            ..k8s::Container::default()
        };
        ports.into_iter().map(container).collect()
    })
}
