//! A cluster as its objects, and what the agent knows of it.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde_json::{Value, json};
use xdp_crds::network_policy::{
    IngressPolicy, NetworkPolicyError, admin_network_policy, baseline_admin_network_policy,
    cluster_network_policy, network_policy,
};
use xdp_plan::{
    network_policy::{
        AddressSet, AddressSets, Certainty, ClusterAddresses, ForeignPolicy, NotCertainReason, PolicyFacts,
    },
    permission::NamespaceLabels,
    pod::Pod,
    policy::{Protocol, SetId},
};

/// The objects of a cluster: namespaces, pods and policies, as the API server has them.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) namespaces: Vec<Value>,
    pub(crate) pods: Vec<Value>,
    pub(crate) policies: Vec<Value>,
}

/// What the agent knows.
pub(crate) struct Known {
    pub(crate) policies: Vec<Arc<IngressPolicy>>,
    pub(crate) unreadable: Vec<NetworkPolicyError>,
    pub(crate) foreign: Vec<ForeignPolicy>,
    pub(crate) sets: AddressSets,
    members: BTreeMap<SetId, AddressSet>,
    pub(crate) cluster: Option<ClusterAddresses>,
    pub(crate) namespaces: NamespaceLabels,
}

/// The addresses of the nodes.
pub(crate) const NODES: [&str; 3] = ["192.0.2.1", "192.0.2.2", "2001:db8:1::1"];
/// Addresses outside the cluster.
pub(crate) const OUTSIDE: [&str; 4] = ["198.51.100.7", "198.51.100.70", "203.0.113.9", "2001:db8:2::7"];
/// The nodes' `podCIDRs`.
const POD_CIDRS: [&str; 2] = ["10.1.0.0/16", "fd00:1::/64"];

impl Cluster {
    /// A cluster with three namespaces, pods in them, and these policies.
    pub(crate) fn new(policies: Vec<Value>) -> Self {
        let pods = [
            (
                "a",
                "x1",
                json!({"app": "x", "tier": "1"}),
                "10.1.0.1",
                "fd00:1::1",
            ),
            ("a", "y1", json!({"app": "y"}), "10.1.0.2", "fd00:1::2"),
            ("b", "x2", json!({"app": "x"}), "10.1.1.1", "fd00:1::11"),
            (
                "b",
                "y2",
                json!({"app": "y", "tier": "2"}),
                "10.1.1.2",
                "fd00:1::12",
            ),
            // An address that is in no `podCIDR`.
            ("c", "none", json!({}), "172.16.0.9", "fd00:2::9"),
            (
                "c",
                "y3",
                json!({"app": "y", "tier": "1"}),
                "10.1.2.3",
                "fd00:1::23",
            ),
        ];
        let pods = pods.map(|(namespace, name, labels, v4, v6)| pod(namespace, name, &labels, &[v4, v6]));
        let mut pods = Vec::from(pods);
        let mut of_host = pod("a", "host", &json!({"app": "x"}), &[NODES[0]]);
        of_host["spec"]["hostNetwork"] = json!(true);
        pods.push(of_host);
        Self {
            namespaces: vec![
                namespace("a", &json!({"team": "red"})),
                namespace("b", &json!({"team": "blue"})),
                namespace("c", &json!({})),
            ],
            pods,
            policies,
        }
    }

    /// Returns all that an agent can know of the cluster.
    pub(crate) fn known(&self) -> Known {
        let (mut policies, mut unreadable) = (Vec::new(), Vec::new());
        for object in &self.policies {
            match read(object) {
                Ok(policy) => policies.extend(policy.map(Arc::new)),
                Err(error) => unreadable.push(*error),
            }
        }
        let labels =
            |object: &Value| serde_json::from_value(object["metadata"]["labels"].clone()).expect("valid");
        let namespaces = self.namespaces.iter();
        let namespaces: NamespaceLabels = namespaces
            .map(|one| (text(&one["metadata"]["name"]), labels(one)))
            .collect();
        let pods: Vec<Pod> = self.pods.iter().map(as_pod).filter(Pod::owns_addresses).collect();
        let mut known = Known {
            foreign: Vec::new(),
            sets: AddressSets::default(),
            members: members(&policies, &pods, &namespaces),
            cluster: Some(cluster_addresses(&pods)),
            policies,
            unreadable,
            namespaces,
        };
        known.forget_sets(&[]);
        known
    }

    /// Returns a pod by its name.
    pub(crate) fn pod(&self, name: &str) -> Pod {
        let found = self.pods.iter().find(|pod| pod["metadata"]["name"] == name);
        as_pod(found.expect("a pod of the cluster"))
    }
}

impl Known {
    /// Leaves out the sets for which `kept` has a false.
    pub(crate) fn forget_sets(&mut self, kept: &[bool]) {
        let sets = self.members.clone().into_iter().enumerate();
        let sets = sets.filter(|(index, _)| kept.get(*index).copied().unwrap_or(true));
        self.sets = sets.map(|(_, set)| set).collect();
    }

    pub(crate) fn facts(&self) -> PolicyFacts<'_> {
        PolicyFacts {
            policies: &self.policies,
            unreadable: &self.unreadable,
            foreign: &self.foreign,
            sets: &self.sets,
            cluster: self.cluster.as_ref(),
            namespaces: &self.namespaces,
        }
    }

    /// Asks both forms about a packet, and returns the reason why it is not certain.
    pub(crate) fn ask(
        &self,
        pod: &Pod,
        source: &str,
        protocol: Protocol,
        port: u16,
    ) -> Option<NotCertainReason> {
        let policies = self.facts().of(pod);
        let source = source.parse().expect("valid");
        let certainty = policies.certainty(source, protocol, port);
        assert_eq!(
            policies.certain_traffic().certainty(source, protocol, port),
            certainty
        );
        match certainty {
            Certainty::Certain => None,
            Certainty::NotCertain(why) => Some(why.reason),
        }
    }
}

/// Returns the addresses of the pods that policies name as sources.
fn members(
    policies: &[Arc<IngressPolicy>],
    pods: &[Pod],
    namespaces: &NamespaceLabels,
) -> BTreeMap<SetId, AddressSet> {
    let selections = policies.iter().flat_map(|policy| policy.selections());
    let sets = selections.map(|(selection, set)| {
        let members = pods.iter().filter(|pod| {
            let of_namespace = namespaces.get(&pod.namespace);
            selection.includes(&pod.namespace, of_namespace, &pod.labels) == Some(true)
        });
        let addresses = members.flat_map(|pod| pod.addresses.iter().copied());
        (set.clone(), addresses.collect())
    });
    sets.collect()
}

fn cluster_addresses(pods: &[Pod]) -> ClusterAddresses {
    let of_pods = pods.iter().flat_map(|pod| pod.addresses.iter().copied());
    let ranges = POD_CIDRS.iter().map(|net| net.parse().expect("valid"));
    let nodes = NODES
        .iter()
        .map(|address| address.parse::<IpAddr>().expect("valid"));
    ClusterAddresses {
        ranges: ranges.chain(of_pods.map(ipnet::IpNet::from)).collect(),
        nodes: nodes.collect(),
        disputed: AddressSet::default(),
    }
}

/// Reads a policy of any kind.
fn read(object: &Value) -> Result<Option<IngressPolicy>, Box<NetworkPolicyError>> {
    let name = text(&object["metadata"]["name"]);
    match object["kind"].as_str().expect("valid") {
        "NetworkPolicy" => network_policy(&serde_json::from_value(object.clone()).expect("valid")),
        "ClusterNetworkPolicy" => cluster_network_policy(&name, &object["spec"]),
        "AdminNetworkPolicy" => admin_network_policy(&name, &object["spec"]),
        "BaselineAdminNetworkPolicy" => baseline_admin_network_policy(&name, &object["spec"]),
        other => panic!("{other}"),
    }
}

/// A policy of `networking.k8s.io/v1`.
pub(crate) fn v1(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    })
}

/// A cluster-scoped policy.
pub(crate) fn of_cluster(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn namespace(name: &str, labels: &Value) -> Value {
    let mut labels = labels.clone();
    labels["kubernetes.io/metadata.name"] = json!(name);
    json!({"metadata": {"name": name, "labels": labels}})
}

fn pod(namespace: &str, name: &str, labels: &Value, addresses: &[&str]) -> Value {
    let addresses: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"containers": [{"name": "main", "ports": [
            {"name": "web", "containerPort": 8080},
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
        ]}]},
        "status": {"podIPs": addresses},
    })
}

pub(crate) fn as_pod(object: &Value) -> Pod {
    let object: k8s_openapi::api::core::v1::Pod = serde_json::from_value(object.clone()).expect("valid");
    Pod::try_from(&object).expect("valid")
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("valid").to_owned()
}
