//! Protocols and ports.

use crate::{Port, Protocol};

use super::PortMatch;
use super::convert::Refused;
use super::fault::Fault;

pub(super) fn convert(path: &str, port: &Port) -> Result<PortMatch, Refused> {
    let protocol = port.protocol;
    check_has_ports(path, port)?;
    let field = format!("{path}.port");
    let end_field = format!("{path}.endPort");
    let ports = match (port.port, port.end_port) {
        (None, None) => None,
        (None, Some(end)) => return Err(Refused::new(end_field, &end, Fault::EndWithoutPort)),
        (Some(first), None) => {
            let first = number(&field, first)?;
            Some(first..=first)
        }
        (Some(first), Some(end)) => {
            let first = number(&field, first)?;
            let last = number(&end_field, end)?;
            if last < first {
                let port = first.into();
                return Err(Refused::new(end_field, &end, Fault::EndBeforePort { port }));
            }
            Some(first..=last)
        }
    };
    Ok(PortMatch { protocol, ports })
}

fn check_has_ports(path: &str, port: &Port) -> Result<(), Refused> {
    let protocol = match port.protocol {
        Protocol::Tcp | Protocol::Udp | Protocol::Sctp => return Ok(()),
        Protocol::Icmp => "ICMP",
        Protocol::Icmpv6 => "ICMPv6",
    };
    let fault = Fault::PortWithoutPorts { protocol };
    match (port.port, port.end_port) {
        (Some(port), _) => Err(Refused::new(format!("{path}.port"), &port, fault)),
        (None, Some(end)) => Err(Refused::new(format!("{path}.endPort"), &end, fault)),
        (None, None) => Ok(()),
    }
}

fn number(field: &str, value: i32) -> Result<u16, Refused> {
    u16::try_from(value).map_err(|_| Refused::new(field, &value, Fault::BadPort))
}
