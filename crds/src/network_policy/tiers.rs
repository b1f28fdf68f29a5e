//! Converts the policies of administrators, of `policy.networking.k8s.io`.

mod objects;

use objects::{
    AdminPort, AdminSpec, BaselineSpec, ClusterPort, ClusterPorts, ClusterSpec, NamespacedPods, Numbers,
    WrittenPeer, WrittenRule,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    ADMIN_NETWORK_POLICY, BASELINE_ADMIN_NETWORK_POLICY, CLUSTER_NETWORK_POLICY, IngressPolicy,
    NetworkPolicyError, NetworkPolicyFault, PolicyAction, PolicyKind, PolicyName, PolicyPeer, PolicyPort,
    PolicyRule, PolicySources, PolicyTier, fault::Unreadable,
};
use crate::{
    Protocol,
    policy::{MAX_PRIORITY, PodSelection, SelectedNamespaces, Selector, selector},
};

/// The longest value in an error, in characters.
const LONGEST_VALUE: usize = 120;

/// Converts a `ClusterNetworkPolicy` (`v1alpha2`) from its name and its `spec`. `None`: it has no ingress
/// rules.
pub fn cluster_network_policy(
    name: &str,
    spec: &Value,
) -> Result<Option<IngressPolicy>, Box<NetworkPolicyError>> {
    let convert = || {
        let spec: ClusterSpec = parse("spec", spec)?;
        let tier = match spec.tier.as_str() {
            "Admin" => PolicyTier::Admin,
            "Baseline" => PolicyTier::Baseline,
            other => return Err(Unreadable::new("spec.tier", &other, NetworkPolicyFault::Tier)),
        };
        let rules = rules(&spec.ingress, cluster_port)?;
        Ok((tier, priority(spec.priority)?, subject(&spec.subject)?, rules))
    };
    finish(CLUSTER_NETWORK_POLICY, name, convert())
}

/// Converts an `AdminNetworkPolicy` (`v1alpha1`) from its name and its `spec`. `None`: it has no ingress
/// rules.
pub fn admin_network_policy(
    name: &str,
    spec: &Value,
) -> Result<Option<IngressPolicy>, Box<NetworkPolicyError>> {
    let convert = || {
        let spec: AdminSpec = parse("spec", spec)?;
        let rules = rules(&spec.ingress, admin_port)?;
        Ok((
            PolicyTier::Admin,
            priority(spec.priority)?,
            subject(&spec.subject)?,
            rules,
        ))
    };
    finish(ADMIN_NETWORK_POLICY, name, convert())
}

/// Converts a `BaselineAdminNetworkPolicy` (`v1alpha1`) from its name and its `spec`. `None`: it has no
/// ingress rules.
pub fn baseline_admin_network_policy(
    name: &str,
    spec: &Value,
) -> Result<Option<IngressPolicy>, Box<NetworkPolicyError>> {
    let convert = || {
        let spec: BaselineSpec = parse("spec", spec)?;
        let rules = rules(&spec.ingress, admin_port)?;
        Ok((PolicyTier::Baseline, 0, subject(&spec.subject)?, rules))
    };
    finish(BASELINE_ADMIN_NETWORK_POLICY, name, convert())
}

type Parts = (PolicyTier, u16, PodSelection, Vec<PolicyRule>);

fn finish(
    kind: PolicyKind,
    name: &str,
    parts: Result<Parts, Unreadable>,
) -> Result<Option<IngressPolicy>, Box<NetworkPolicyError>> {
    let name = PolicyName {
        kind,
        namespace: None,
        name: name.to_owned(),
    };
    let (tier, priority, subject, rules) = parts.map_err(|unreadable| unreadable.of(name.clone()))?;
    let policy = IngressPolicy {
        name,
        subject,
        tier,
        priority,
        rules,
    };
    Ok(Some(policy).filter(|policy| !policy.rules.is_empty()))
}

/// Parses a part of an object. An unknown field is an error: what it means is unknown, too.
fn parse<T: DeserializeOwned>(field: &str, value: &Value) -> Result<T, Unreadable> {
    T::deserialize(value).map_err(|error| shape(field, value, error.to_string()))
}

fn shape(field: &str, value: &Value, message: String) -> Unreadable {
    let text: String = value.to_string().chars().take(LONGEST_VALUE).collect();
    Unreadable::new(field, &text, NetworkPolicyFault::Shape(message))
}

fn priority(written: i64) -> Result<u16, Unreadable> {
    let number = u16::try_from(written)
        .ok()
        .filter(|number| *number <= MAX_PRIORITY);
    number.ok_or_else(|| Unreadable::new("spec.priority", &written, NetworkPolicyFault::Priority))
}

fn subject(written: &Value) -> Result<PodSelection, Unreadable> {
    let parsed: WrittenPeer = parse("spec.subject", written)?;
    let not_one = || {
        shape(
            "spec.subject",
            written,
            "not exactly one of `namespaces` and `pods`".to_owned(),
        )
    };
    selection("spec.subject", &parsed).unwrap_or_else(|| Err(not_one()))
}

/// Converts a subject or a peer, which are alike. `None`: not exactly one field is set.
fn selection(path: &str, written: &WrittenPeer) -> Option<Result<PodSelection, Unreadable>> {
    let convert = |namespaces, pods: Option<_>| {
        let namespaces = selector::convert(&format!("{path}.namespaceSelector"), namespaces)?;
        let pods = pods.map(|pods| selector::convert(&format!("{path}.podSelector"), pods));
        Ok(PodSelection {
            namespaces: SelectedNamespaces::Labelled(namespaces),
            pods: pods.unwrap_or_else(|| Ok(Selector::default()))?,
        })
    };
    match (&written.namespaces, &written.pods) {
        (Some(namespaces), None) => Some(convert(namespaces, None)),
        (
            None,
            Some(NamespacedPods {
                namespace_selector,
                pod_selector,
            }),
        ) => Some(convert(namespace_selector, Some(pod_selector))),
        (None, None) | (Some(_), Some(_)) => None,
    }
}

fn rules(
    written: &[Value],
    port: fn(&Value) -> Option<Vec<PolicyPort>>,
) -> Result<Vec<PolicyRule>, Unreadable> {
    let convert = |(index, written): (usize, &Value)| {
        let written: WrittenRule = parse(&format!("spec.ingress[{index}]"), written)?;
        let from = written.from.iter().map(peer).collect();
        let ports = written.ports.as_deref().unwrap_or_default().iter();
        let ports = ports.flat_map(|written| port(written).unwrap_or_else(|| vec![PolicyPort::Unreadable]));
        let ports: Vec<_> = ports.collect();
        // The API refuses empty lists, and does not say what they mean.
        let no_ports = written.ports.is_some() && ports.is_empty();
        Ok(PolicyRule {
            action: written.action.into(),
            from: PolicySources::Listed(if written.from.is_empty() {
                vec![PolicyPeer::Unreadable]
            } else {
                from
            }),
            ports: if no_ports {
                vec![PolicyPort::Unreadable]
            } else {
                ports
            },
        })
    };
    written.iter().enumerate().map(convert).collect()
}

fn peer(written: &Value) -> PolicyPeer {
    let written = WrittenPeer::deserialize(written).ok();
    let selection = written.and_then(|written| selection("", &written)?.ok());
    selection.map_or(PolicyPeer::Unreadable, PolicyPeer::pods)
}

fn cluster_port(written: &Value) -> Option<Vec<PolicyPort>> {
    let written = ClusterPort::deserialize(written).ok()?;
    let by_number =
        |protocol, ports: &ClusterPorts| Some(vec![range(protocol, ports.destination_port.bounds()?)?]);
    match (
        &written.tcp,
        &written.udp,
        &written.sctp,
        &written.destination_named_port,
    ) {
        (Some(ports), None, None, None) => by_number(Protocol::Tcp, ports),
        (None, Some(ports), None, None) => by_number(Protocol::Udp, ports),
        (None, None, Some(ports), None) => by_number(Protocol::Sctp, ports),
        (None, None, None, Some(name)) => Some(named(name)),
        _ => None,
    }
}

fn admin_port(written: &Value) -> Option<Vec<PolicyPort>> {
    match AdminPort::deserialize(written).ok()? {
        AdminPort::PortNumber { protocol, port } => Some(vec![range(protocol.into(), (port, port))?]),
        AdminPort::PortRange { protocol, start, end } => Some(vec![range(protocol.into(), (start, end))?]),
        AdminPort::NamedPort(name) => Some(named(&name)),
    }
}

/// Returns the ports of a name, which is not of one protocol.
fn named(name: &str) -> Vec<PolicyPort> {
    let port = |protocol| PolicyPort::Named {
        protocol,
        name: name.to_owned(),
    };
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].map(port).into()
}

fn range(protocol: Protocol, (first, last): (i64, i64)) -> Option<PolicyPort> {
    let ports = u16::try_from(first).ok()?..=u16::try_from(last).ok()?;
    (!ports.is_empty()).then_some(PolicyPort::Range { protocol, ports })
}

impl Numbers {
    fn bounds(&self) -> Option<(i64, i64)> {
        match (self.number, &self.range) {
            (Some(number), None) => Some((number, number)),
            (None, Some(range)) => Some((range.start, range.end)),
            (None, None) | (Some(_), Some(_)) => None,
        }
    }
}

impl From<objects::WrittenAction> for PolicyAction {
    fn from(written: objects::WrittenAction) -> Self {
        match written {
            objects::WrittenAction::Accept | objects::WrittenAction::Allow => Self::Accept,
            objects::WrittenAction::Deny => Self::Deny,
            objects::WrittenAction::Pass => Self::Pass,
        }
    }
}

impl From<objects::WrittenProtocol> for Protocol {
    fn from(written: objects::WrittenProtocol) -> Self {
        match written {
            objects::WrittenProtocol::Tcp => Self::Tcp,
            objects::WrittenProtocol::Udp => Self::Udp,
            objects::WrittenProtocol::Sctp => Self::Sctp,
        }
    }
}
