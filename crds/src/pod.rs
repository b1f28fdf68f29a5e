//! Pods, with the fields that operator and agent need.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use k8s_openapi::api::core::v1 as k8s;
use thiserror::Error;

use crate::{Protocol, report::Problem};

/// The namespace of objects without one.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// The namespace; `default` if absent.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// `metadata.uid`; empty if absent.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `status.podIPs` and `status.podIP`, in order, without duplicates.
    pub addresses: Vec<IpAddr>,
    /// Container ports by name and protocol. Of several with the same name the first one counts, as for
    /// Services.
    pub ports: BTreeMap<(String, Protocol), u16>,
    /// Names in `ports` that not every reader resolves to the same number: those that containers give
    /// different numbers, and those that a sidecar has.
    pub ambiguous_ports: BTreeSet<(String, Protocol)>,
    /// Ports of the node that lead to the pod (`hostPort`).
    pub host_ports: BTreeSet<(Protocol, u16)>,
    /// Whether the pod uses the network namespace of its node. Such a pod is never a target.
    pub host_network: bool,
    /// `spec.nodeName`; empty before the pod is scheduled.
    pub node: String,
    /// Whether the pod has finished. Its addresses may belong to another pod.
    pub finished: bool,
}

impl Pod {
    /// Returns whether the pod's addresses are its own. The addresses of a pod in the host's network are the
    /// node's; those of a finished pod may belong to another pod already.
    pub const fn owns_addresses(&self) -> bool {
        !self.host_network && !self.finished
    }

    /// Returns whether packets can be sent to the pod, and to it alone: it has addresses, and they are its
    /// own.
    pub const fn is_addressable(&self) -> bool {
        self.owns_addresses() && !self.addresses.is_empty()
    }
}

/// Writes `Pod games/server-0`, as in problems.
impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pod {}/{}", self.namespace, self.name)
    }
}

/// An invalid pod object.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PodError {
    /// `metadata.name` is missing.
    #[error("Pod in namespace {namespace}: `metadata.name` is missing")]
    NoName {
        /// The namespace.
        namespace: String,
    },
    /// An address is invalid.
    #[error("{object}: `{field}` is `{value}`: not an IP address")]
    BadAddress {
        /// The pod.
        object: String,
        /// The path of the field.
        field: String,
        /// The value of the field.
        value: String,
    },
}

impl PodError {
    /// Returns the object, as in problems.
    pub fn object(&self) -> String {
        match self {
            Self::NoName { namespace } => format!("Pod {namespace}/"),
            Self::BadAddress { object, .. } => object.clone(),
        }
    }

    /// Returns the path of the field.
    pub fn field(&self) -> &str {
        match self {
            Self::NoName { .. } => "metadata.name",
            Self::BadAddress { field, .. } => field,
        }
    }

    /// Returns the value of the field.
    pub fn value(&self) -> &str {
        match self {
            Self::NoName { .. } => "",
            Self::BadAddress { value, .. } => value,
        }
    }

    /// Returns the reason, as a constant in CamelCase.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoName { .. } => "NoName",
            Self::BadAddress { .. } => "BadAddress",
        }
    }

    /// Returns the remedy.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoName { .. } => "give the pod a name",
            Self::BadAddress { .. } => "write an address without a prefix length: 192.0.2.7, 2001:db8::7",
        }
    }
}

impl From<&PodError> for Problem {
    fn from(error: &PodError) -> Self {
        let what = match error {
            PodError::NoName { .. } => "a name is missing",
            PodError::BadAddress { .. } => "not an IP address",
        };
        let message = format!("`{}` is `{}`: {what}", error.field(), error.value());
        Self::new(error.object(), error.reason(), message, error.remedy())
    }
}

impl TryFrom<&k8s::Pod> for Pod {
    type Error = PodError;

    fn try_from(object: &k8s::Pod) -> Result<Self, PodError> {
        let meta = &object.metadata;
        let namespace = meta.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.into());
        let Some(name) = meta.name.clone().filter(|name| !name.is_empty()) else {
            return Err(PodError::NoName { namespace });
        };
        let addresses = addresses(object, &format!("Pod {namespace}/{name}"))?;
        let phase = object.status.as_ref().and_then(|status| status.phase.as_deref());
        Ok(Self {
            namespace,
            name,
            uid: meta.uid.clone().unwrap_or_default(),
            labels: meta.labels.clone().unwrap_or_default(),
            addresses,
            ports: object.spec.as_ref().map(named_ports).unwrap_or_default(),
            ambiguous_ports: object.spec.as_ref().map(ambiguous_ports).unwrap_or_default(),
            host_ports: object.spec.as_ref().map(host_ports).unwrap_or_default(),
            host_network: object.spec.as_ref().and_then(|spec| spec.host_network) == Some(true),
            node: object
                .spec
                .as_ref()
                .and_then(|spec| spec.node_name.clone())
                .unwrap_or_default(),
            finished: matches!(phase, Some("Succeeded" | "Failed")),
        })
    }
}

/// Returns the ports of the containers, then of the sidecars. Other init containers end before the pod runs.
fn ports(spec: &k8s::PodSpec) -> impl Iterator<Item = (Protocol, &k8s::ContainerPort)> {
    ports_of(spec.containers.iter()).chain(ports_of(sidecars(spec)))
}

fn sidecars(spec: &k8s::PodSpec) -> impl Iterator<Item = &k8s::Container> {
    let init = spec.init_containers.iter().flatten();
    init.filter(|container| container.restart_policy.as_deref() == Some("Always"))
}

fn ports_of<'a>(
    containers: impl Iterator<Item = &'a k8s::Container>,
) -> impl Iterator<Item = (Protocol, &'a k8s::ContainerPort)> {
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports.filter_map(|port| {
        let protocol = match port.protocol.as_deref() {
            None | Some("TCP") => Protocol::Tcp,
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            Some(_) => return None,
        };
        Some((protocol, port))
    })
}

fn named_ports(spec: &k8s::PodSpec) -> BTreeMap<(String, Protocol), u16> {
    let mut named = BTreeMap::new();
    for (protocol, port) in ports(spec) {
        if let (Some(name), Ok(number)) = (&port.name, u16::try_from(port.container_port)) {
            named.entry((name.clone(), protocol)).or_insert(number);
        }
    }
    named
}

fn ambiguous_ports(spec: &k8s::PodSpec) -> BTreeSet<(String, Protocol)> {
    let named = named_ports(spec);
    let key = |(protocol, port): (Protocol, &k8s::ContainerPort)| Some((port.name.clone()?, protocol));
    let differs = |one: &(Protocol, &k8s::ContainerPort)| {
        let number = key(*one).and_then(|key| named.get(&key).copied());
        number.map(i32::from) != Some(one.1.container_port)
    };
    let differing = ports(spec).filter(differs).filter_map(key);
    differing
        .chain(ports_of(sidecars(spec)).filter_map(key))
        .collect()
}

fn host_ports(spec: &k8s::PodSpec) -> BTreeSet<(Protocol, u16)> {
    let numbers = ports(spec).filter_map(|(protocol, port)| {
        let number = u16::try_from(port.host_port?).ok()?;
        (number != 0).then_some((protocol, number))
    });
    numbers.collect()
}

fn addresses(object: &k8s::Pod, name: &str) -> Result<Vec<IpAddr>, PodError> {
    let Some(status) = &object.status else {
        return Ok(Vec::new());
    };
    let listed = status.pod_ips.iter().flatten().enumerate();
    let fields = listed
        .map(|(index, pod_ip)| (format!("status.podIPs[{index}].ip"), pod_ip.ip.as_str()))
        .chain(
            status
                .pod_ip
                .iter()
                .map(|ip| ("status.podIP".to_owned(), ip.as_str())),
        )
        .filter(|(_, value)| !value.is_empty());
    let mut found = Vec::new();
    for (field, value) in fields {
        let address: IpAddr = value.parse().map_err(|_| PodError::BadAddress {
            object: name.to_owned(),
            field,
            value: value.to_owned(),
        })?;
        let address = address.to_canonical();
        if !found.contains(&address) {
            found.push(address);
        }
    }
    Ok(found)
}
