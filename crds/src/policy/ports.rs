//! Protocols and ports.

use super::{
    MAX_PORT_NAME, PortMatch, PortSet,
    fault::{Fault, FieldFault},
};
use crate::{IntOrString, Port, Protocol};

pub(super) fn convert(path: &str, port: &Port) -> Result<PortMatch, FieldFault> {
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

fn with_ports(path: &str, port: &Port, protocol: &'static str) -> Result<PortSet, FieldFault> {
    for (name, value) in [("type", port.kind), ("code", port.code)] {
        if let Some(value) = value {
            let fault = Fault::TypeWithoutTypes { protocol };
            return Err(FieldFault::new(format!("{path}.{name}"), &value, fault));
        }
    }
    let field = format!("{path}.port");
    let end_field = format!("{path}.endPort");
    match (&port.port, port.end_port) {
        (None, None) => Ok(PortSet::Any),
        (None, Some(end)) => Err(FieldFault::new(end_field, &end, Fault::EndWithoutPort)),
        (Some(IntOrString::Int(first)), end) => {
            let first = number(&field, *first)?;
            let last = end.map_or(Ok(first), |end| number(&end_field, end))?;
            if last < first {
                let port = first.into();
                return Err(FieldFault::new(end_field, &last, Fault::EndBeforePort { port }));
            }
            Ok(PortSet::Range(first..=last))
        }
        (Some(IntOrString::String(name)), _) if !is_port_name(name) => {
            Err(FieldFault::new(field, name, Fault::BadPortName))
        }
        (Some(IntOrString::String(_)), Some(end)) => Err(FieldFault::new(end_field, &end, Fault::EndOfName)),
        (Some(IntOrString::String(name)), None) => Ok(PortSet::Named(name.clone())),
    }
}

fn with_types(path: &str, port: &Port, protocol: &'static str) -> Result<PortSet, FieldFault> {
    let fault = Fault::PortWithoutPorts { protocol };
    match (&port.port, port.end_port) {
        (Some(IntOrString::Int(port)), _) => {
            return Err(FieldFault::new(format!("{path}.port"), port, fault));
        }
        (Some(IntOrString::String(port)), _) => {
            return Err(FieldFault::new(format!("{path}.port"), port, fault));
        }
        (None, Some(end)) => return Err(FieldFault::new(format!("{path}.endPort"), &end, fault)),
        (None, None) => {}
    }
    let code_field = format!("{path}.code");
    let code = port.code.map(|code| byte(&code_field, code)).transpose()?;
    match (port.kind, code) {
        (Some(kind), code) => {
            let kind = byte(&format!("{path}.type"), kind)?;
            Ok(PortSet::Icmp { kind, code })
        }
        (None, Some(code)) => Err(FieldFault::new(code_field, &code, Fault::CodeWithoutType)),
        (None, None) => Ok(PortSet::Any),
    }
}

/// Returns whether a name is valid for a container port, as in Kubernetes.
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

fn number(field: &str, value: i32) -> Result<u16, FieldFault> {
    u16::try_from(value).map_err(|_| FieldFault::new(field, &value, Fault::BadPort))
}

fn byte(field: &str, value: i32) -> Result<u8, FieldFault> {
    u8::try_from(value).map_err(|_| FieldFault::new(field, &value, Fault::BadType))
}
