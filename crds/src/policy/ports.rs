//! Protocols and ports.

use super::{MAX_PORT_NAME, PortMatch, PortSet, convert::Refused, fault::Fault};
use crate::{IntOrString, Port, Protocol};

pub(super) fn convert(path: &str, port: &Port) -> Result<PortMatch, Refused> {
    let ports = match port.protocol {
        Protocol::Tcp => with_ports(path, port, "TCP"),
        Protocol::Udp => with_ports(path, port, "UDP"),
        Protocol::Sctp => with_ports(path, port, "SCTP"),
        Protocol::Icmp => with_types(path, port, "ICMP"),
        Protocol::Icmpv6 => with_types(path, port, "ICMPv6"),
    };
    Ok(PortMatch {
        protocol: port.protocol,
        ports: ports?,
    })
}

fn with_ports(path: &str, port: &Port, protocol: &'static str) -> Result<PortSet, Refused> {
    for (name, value) in [("type", port.kind), ("code", port.code)] {
        if let Some(value) = value {
            let fault = Fault::TypeWithoutTypes { protocol };
            return Err(Refused::new(format!("{path}.{name}"), &value, fault));
        }
    }
    let field = format!("{path}.port");
    let end_field = format!("{path}.endPort");
    match (&port.port, port.end_port) {
        (None, None) => Ok(PortSet::Any),
        (None, Some(end)) => Err(Refused::new(end_field, &end, Fault::EndWithoutPort)),
        (Some(IntOrString::Int(first)), end) => {
            let first = number(&field, *first)?;
            let last = end.map_or(Ok(first), |end| number(&end_field, end))?;
            if last < first {
                let port = first.into();
                return Err(Refused::new(end_field, &last, Fault::EndBeforePort { port }));
            }
            Ok(PortSet::Range(first..=last))
        }
        (Some(IntOrString::String(name)), _) if !is_port_name(name) => {
            Err(Refused::new(field, name, Fault::BadPortName))
        }
        (Some(IntOrString::String(_)), Some(end)) => Err(Refused::new(end_field, &end, Fault::EndOfName)),
        (Some(IntOrString::String(name)), None) => Ok(PortSet::Named(name.clone())),
    }
}

fn with_types(path: &str, port: &Port, protocol: &'static str) -> Result<PortSet, Refused> {
    let fault = Fault::PortWithoutPorts { protocol };
    match (&port.port, port.end_port) {
        (Some(IntOrString::Int(port)), _) => {
            return Err(Refused::new(format!("{path}.port"), port, fault));
        }
        (Some(IntOrString::String(port)), _) => {
            return Err(Refused::new(format!("{path}.port"), port, fault));
        }
        (None, Some(end)) => return Err(Refused::new(format!("{path}.endPort"), &end, fault)),
        (None, None) => {}
    }
    let code_field = format!("{path}.code");
    let code = port.code.map(|code| byte(&code_field, code)).transpose()?;
    match (port.kind, code) {
        (Some(kind), code) => {
            let kind = byte(&format!("{path}.type"), kind)?;
            Ok(PortSet::Icmp { kind, code })
        }
        (None, Some(code)) => Err(Refused::new(code_field, &code, Fault::CodeWithoutType)),
        (None, None) => Ok(PortSet::Any),
    }
}

/// As Kubernetes has it for names of container ports.
fn is_port_name(name: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    name.len() <= MAX_PORT_NAME
        && name.split('-').all(word)
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
}

fn number(field: &str, value: i32) -> Result<u16, Refused> {
    u16::try_from(value).map_err(|_| Refused::new(field, &value, Fault::BadPort))
}

fn byte(field: &str, value: i32) -> Result<u8, Refused> {
    u8::try_from(value).map_err(|_| Refused::new(field, &value, Fault::BadType))
}
