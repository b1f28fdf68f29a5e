//! Converts `NetworkPolicy` of `networking.k8s.io/v1`.

use ipnet::IpNet;
use k8s_openapi::{api::networking::v1, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{
    IngressPolicy, NETWORK_POLICY, NetworkPolicyError, PolicyAction, PolicyName, PolicyPeer, PolicyPort,
    PolicyRule, PolicySources, PolicyTier, labels::selector,
};
use crate::{
    IntOrString, Protocol,
    pod::DEFAULT_NAMESPACE,
    policy::{Block, PodSelection, SelectedNamespaces},
};

/// Converts a policy. `None`: it says nothing about connections to pods, because its `policyTypes` are
/// `[Egress]`. Without `policyTypes`, every policy is about ingress.
pub fn network_policy(object: &v1::NetworkPolicy) -> Result<Option<IngressPolicy>, Box<NetworkPolicyError>> {
    let ObjectMeta { namespace, name, .. } = &object.metadata;
    let namespace = namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let name = PolicyName {
        kind: NETWORK_POLICY,
        namespace: Some(namespace.to_owned()),
        name: name.clone().unwrap_or_default(),
    };
    let spec = object.spec.clone().unwrap_or_default();
    let types = spec.policy_types.unwrap_or_default();
    if !types.is_empty() && types.iter().all(|name| name == "Egress") {
        return Ok(None);
    }
    let pods = selector("spec.podSelector", spec.pod_selector.as_ref());
    let pods = pods.map_err(|unreadable| unreadable.of(name.clone()))?;
    let rules = spec
        .ingress
        .iter()
        .flatten()
        .map(|written| rule(namespace, written));
    Ok(Some(IngressPolicy {
        name,
        subject: PodSelection {
            namespaces: SelectedNamespaces::Named(namespace.to_owned()),
            pods,
        },
        tier: PolicyTier::NetworkPolicy,
        priority: 0,
        rules: rules.collect(),
    }))
}

fn rule(namespace: &str, written: &v1::NetworkPolicyIngressRule) -> PolicyRule {
    let from = written.from.as_deref().unwrap_or_default();
    let ports = written.ports.iter().flatten();
    PolicyRule {
        action: PolicyAction::Accept,
        from: if from.is_empty() {
            PolicySources::Any
        } else {
            PolicySources::Listed(from.iter().map(|written| peer(namespace, written)).collect())
        },
        ports: ports
            .map(|written| port(written).unwrap_or(PolicyPort::Unreadable))
            .collect(),
    }
}

fn peer(namespace: &str, written: &v1::NetworkPolicyPeer) -> PolicyPeer {
    let v1::NetworkPolicyPeer {
        ip_block,
        namespace_selector,
        pod_selector,
    } = written;
    let namespaces = namespace_selector.as_ref();
    let namespaces = namespaces.map(|written| selector("", Some(written)).map(SelectedNamespaces::Labelled));
    let pods = selector("", pod_selector.as_ref());
    match (ip_block, namespaces, pods) {
        (Some(written), None, _) if pod_selector.is_none() => {
            block(written).map_or(PolicyPeer::Unreadable, PolicyPeer::Block)
        }
        (None, Some(Ok(namespaces)), Ok(pods)) => PolicyPeer::pods(PodSelection { namespaces, pods }),
        (None, None, Ok(pods)) if pod_selector.is_some() => PolicyPeer::pods(PodSelection {
            namespaces: SelectedNamespaces::Named(namespace.to_owned()),
            pods,
        }),
        _ => PolicyPeer::Unreadable,
    }
}

/// Converts a network. Host bits mean nothing, as in Kubernetes.
fn block(written: &v1::IPBlock) -> Option<Block> {
    let cidr = network(&written.cidr)?;
    let except = written.except.iter().flatten();
    let except = except.map(|text| network(text).filter(|except| cidr.contains(except)));
    Some(Block {
        cidr,
        except: except.collect::<Option<_>>()?,
    })
}

/// Parses a network, but not one of IPv4-mapped addresses: packets do not have them, and what engines make of
/// them differs.
fn network(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().ok()?.trunc();
    let is_mapped = matches!(net, IpNet::V6(net) if net.addr().to_ipv4_mapped().is_some());
    (!is_mapped).then_some(net)
}

fn port(written: &v1::NetworkPolicyPort) -> Option<PolicyPort> {
    let protocol = match written.protocol.as_deref() {
        None | Some("TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(_) => return None,
    };
    let first = match (&written.port, written.end_port) {
        (Some(IntOrString::Int(number)), _) => u16::try_from(*number).ok()?,
        (Some(IntOrString::String(name)), None) => {
            let name = name.clone();
            return Some(PolicyPort::Named { protocol, name });
        }
        (None, None) => {
            let ports = 0..=u16::MAX;
            return Some(PolicyPort::Range { protocol, ports });
        }
        (Some(IntOrString::String(_)) | None, Some(_)) => return None,
    };
    let last = written.end_port.map_or(Ok(first), u16::try_from).ok()?;
    let ports = first..=last;
    (!ports.is_empty()).then_some(PolicyPort::Range { protocol, ports })
}
