//! The policies of Kubernetes about connections to pods, as far as the operator needs them: the pods that
//! they name as sources.

use k8s_openapi::{
    api::networking::v1::NetworkPolicy,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::core::DynamicObject;
use serde_json::Value;
use xdp_client::object::Versioned;
use xdp_crds::{
    network_policy::{
        ADMIN_NETWORK_POLICY, BASELINE_ADMIN_NETWORK_POLICY, CLUSTER_NETWORK_POLICY, IngressPolicy,
        NETWORK_POLICY, NetworkPolicyError, PolicyKind, admin_network_policy, baseline_admin_network_policy,
        cluster_network_policy, network_policy,
    },
    policy::{PodSelection, SetId},
};

/// The pods that a policy names as sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPeers {
    /// `metadata.creationTimestamp`.
    pub created: Option<Time>,
    /// Each selection with its identity.
    pub selections: Vec<(SetId, PodSelection)>,
}

/// The kinds, in the order in which their policies get sets.
pub const NETWORK_POLICY_KINDS: [PolicyKind; 4] = [
    CLUSTER_NETWORK_POLICY,
    ADMIN_NETWORK_POLICY,
    BASELINE_ADMIN_NETWORK_POLICY,
    NETWORK_POLICY,
];

type Converted = Result<Option<IngressPolicy>, Box<NetworkPolicyError>>;

/// Converts a `NetworkPolicy`.
pub fn of_namespace(object: &NetworkPolicy) -> Versioned<PolicyPeers> {
    peers(&object.metadata, network_policy(object))
}

/// Converts a policy of a kind that has tiers.
pub fn of_cluster(kind: PolicyKind, object: &DynamicObject) -> Versioned<PolicyPeers> {
    let convert = match kind {
        CLUSTER_NETWORK_POLICY => cluster_network_policy,
        ADMIN_NETWORK_POLICY => admin_network_policy,
        _ => baseline_admin_network_policy,
    };
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let spec = object.data.get("spec").unwrap_or(&Value::Null);
    peers(&object.metadata, convert(name, spec))
}

/// A policy that cannot be read, or says nothing about ingress, needs no set. Agents read it, too.
fn peers(meta: &ObjectMeta, policy: Converted) -> Versioned<PolicyPeers> {
    let policy = policy.ok().flatten();
    let value = policy.map(|policy| PolicyPeers {
        created: meta.creation_timestamp.clone(),
        selections: policy
            .selections()
            .map(|(selection, id)| (id.clone(), selection.clone()))
            .collect(),
    });
    Versioned::new(meta, value)
}
