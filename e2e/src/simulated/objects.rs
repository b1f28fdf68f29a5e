//! The made-up objects: ten pods on each node, in 101 namespaces, and the policies that select them.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

/// Namespaces of tenants.
const TENANTS: usize = 100;
/// Pods of each node; one of them is in [`WIDE`].
const PODS: usize = 10;
/// Values of the label `group`: each selects one in a hundred pods.
const GROUPS: usize = 100;
/// Name of the policy that selects a pod on each node, and of its namespace.
pub const WIDE: &str = "wide";

/// The size of a made-up cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrowdSize {
    /// Number of nodes.
    pub nodes: usize,
    /// Number of the tenants' policies.
    pub policies: usize,
}

/// A made-up pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrowdPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The number of its node.
    pub node: usize,
    /// Its address.
    pub address: Ipv4Addr,
    app: String,
    group: usize,
}

/// What a policy's rule says of the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrowdSource {
    /// All pods of the cluster.
    All,
    /// One in a hundred pods, of all namespaces.
    Group(usize),
    /// A network.
    Network,
}

impl CrowdSize {
    /// Returns the number of pods.
    pub const fn pods(self) -> usize {
        PODS * self.nodes
    }

    /// Apps of each namespace: each policy selects the pods of one.
    fn apps(self) -> usize {
        (self.policies / TENANTS).max(1)
    }

    /// Returns a pod.
    pub fn pod(self, number: usize) -> CrowdPod {
        let address = Ipv4Addr::from(0x0a00_0100 + number as u32);
        let Some(other) = number.checked_sub(self.nodes) else {
            return CrowdPod {
                namespace: WIDE.to_owned(),
                name: format!("p{number}"),
                node: number,
                address,
                app: WIDE.to_owned(),
                group: number % GROUPS,
            };
        };
        let turn = other / TENANTS;
        CrowdPod {
            namespace: tenant(other % TENANTS),
            name: format!("p{number}"),
            node: other / (PODS - 1),
            address,
            app: app(turn % self.apps()),
            group: (other + turn) % GROUPS,
        }
    }

    /// Returns the number of distinct selections of all policies.
    pub fn selections(self) -> usize {
        let mut all: Vec<Option<usize>> = (0..self.policies)
            .filter_map(|policy| match source(policy) {
                CrowdSource::All => Some(None),
                CrowdSource::Group(group) => Some(Some(group)),
                CrowdSource::Network => None,
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    }

    /// Returns what the rule of a policy means.
    pub fn source(self, policy: usize) -> CrowdSource {
        if policy == self.policies {
            CrowdSource::Network
        } else {
            source(policy)
        }
    }

    /// Returns the names of all namespaces.
    pub(super) fn namespaces() -> Vec<String> {
        (0..TENANTS).map(tenant).chain([WIDE.to_owned()]).collect()
    }

    /// Returns a policy with its namespace; the last one, number [`policies`](Self::policies), is [`WIDE`].
    pub(super) fn policy(self, number: usize) -> (String, Value) {
        let (namespace, app) = if number == self.policies {
            (WIDE.to_owned(), WIDE.to_owned())
        } else {
            (tenant(number % TENANTS), app(number / TENANTS))
        };
        let from = match self.source(number) {
            CrowdSource::All => json!({"namespaceSelector": {}}),
            CrowdSource::Group(group) => {
                let labels = json!({"group": format!("g{group}")});
                json!({"namespaceSelector": {}, "podSelector": {"matchLabels": labels}})
            }
            CrowdSource::Network => json!({"ipBlock": {"cidr": format!("198.51.{}.0/24", number % 200)}}),
        };
        let policy = json!({
            "apiVersion": "xdp-operator.io/v1alpha1",
            "kind": "XdpPolicy",
            "metadata": {"name": policy_name(self, number), "namespace": namespace},
            "spec": {
                "podSelector": {"matchLabels": {"app": app}},
                "ingress": [{
                    "name": "r",
                    "from": [from],
                    "ports": [{"protocol": "UDP", "port": 7777}],
                    "action": "Drop",
                }],
            },
        });
        (namespace, policy)
    }
}

/// Returns the name of a policy.
pub fn policy_name(size: CrowdSize, number: usize) -> String {
    if number == size.policies {
        WIDE.to_owned()
    } else {
        format!("x{number}")
    }
}

/// Returns the number of the policy that selects a pod, if one does.
pub fn selected_by(size: CrowdSize, pod: &CrowdPod) -> Option<usize> {
    if pod.namespace == WIDE {
        return Some(size.policies);
    }
    let (tenant, app) = (pod.namespace[1..].parse::<usize>(), pod.app[1..].parse::<usize>());
    let number = tenant.ok()? + TENANTS * app.ok()?;
    (number < size.policies).then_some(number)
}

/// 5 % of the policies mean all pods, 45 % one in a hundred, and the others a network.
fn source(policy: usize) -> CrowdSource {
    match policy % 20 {
        0 => CrowdSource::All,
        1..=9 => CrowdSource::Group(policy % GROUPS),
        _ => CrowdSource::Network,
    }
}

impl CrowdPod {
    /// Returns how many distinct selections include the pod.
    pub fn selections(&self, size: CrowdSize) -> usize {
        let means = |wanted| (0..size.policies).any(|policy| source(policy) == wanted);
        usize::from(means(CrowdSource::All)) + usize::from(means(CrowdSource::Group(self.group)))
    }

    /// Returns the number of its group.
    pub(super) const fn group(&self) -> usize {
        self.group
    }

    /// Returns the path of the API.
    pub fn path(&self) -> String {
        format!("/api/v1/namespaces/{}/pods/{}", self.namespace, self.name)
    }

    /// Returns the object, of a size as pods have it: twelve variables.
    pub(super) fn object(&self) -> Value {
        let variables: Vec<Value> = (0..12)
            .map(|number| json!({"name": format!("SETTING_{number}"), "value": "v".repeat(90)}))
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": {
                    "app": self.app,
                    "group": format!("g{}", self.group),
                    "release": "stable",
                    "turn": "0",
                },
            },
            "spec": {
                "nodeName": node_name(self.node),
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "main",
                    "image": "registry.example/team/service:1.2.3",
                    "env": variables,
                    "ports": [{"name": "game", "containerPort": 7777, "protocol": "UDP"}],
                }],
            },
        })
    }

    /// Returns the status that the kubelet writes, with this address.
    pub fn status(address: Ipv4Addr) -> Value {
        json!({"status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "ContainersReady", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ],
        }})
    }
}

/// Returns the name of a node.
pub fn node_name(number: usize) -> String {
    format!("n{number}")
}

fn tenant(number: usize) -> String {
    format!("t{number}")
}

fn app(number: usize) -> String {
    format!("a{number}")
}

#[cfg(test)]
mod tests;
