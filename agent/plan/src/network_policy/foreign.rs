//! Policies of other engines. Only one thing is decided about them: whether a policy might restrict what
//! others send to a pod. While one might, no packet to the pod is certainly allowed. Their rules are not
//! evaluated.
//!
//! - Calico (`projectcalico.org/v3`, and `crd.projectcalico.org/v1`, where these are stored): `NetworkPolicy`
//!   and `GlobalNetworkPolicy`, if `types`, `selector` and `namespaceSelector` say so, or if they concern
//!   packets that hosts forward (`applyOnForward`). In whatever tier they are.
//! - Cilium (`cilium.io/v2`): `CiliumNetworkPolicy` and `CiliumClusterwideNetworkPolicy`, if the
//!   `endpointSelector` of a rule with `ingress`, `ingressDeny` or `enableDefaultDeny` says so.
//! - Antrea (`crd.antrea.io/v1beta1`): `NetworkPolicy` and `ClusterNetworkPolicy`, if `appliedTo` of the
//!   policy or of one of its ingress rules says so.
//! - Amazon (`networking.k8s.aws/v1alpha1`): `ApplicationNetworkPolicy` and `ClusterNetworkPolicy`, if
//!   `policyTypes` and `podSelector`, or `subject` of a policy with ingress rules, say so.
//! - `MultiNetworkPolicy` (`k8s.cni.cncf.io/v1beta1`), if `policyTypes` and `podSelector` say so.
//!
//! A selector that cannot be read, or that asks for what the agent does not know (service accounts, groups),
//! might select every pod that it could. What is derived from policies that are evaluated, or only staged,
//! is not in the table: `StagedNetworkPolicy`, `PolicyEndpoint`.

mod amazon;
mod antrea;
mod calico;
mod cilium;
mod expression;
mod multi;

use expression::{Endpoint, Expression};
use serde_json::Value;
use xdp_crds::{
    network_policy::{PolicyKind, PolicyName},
    pod::Pod,
};

use super::Labels;

/// A kind of another engine's policies.
#[derive(Debug)]
pub struct ForeignKind {
    /// Group and kind.
    pub kind: PolicyKind,
    /// The name of the resource in URLs.
    pub plural: &'static str,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// Returns the pods that an object might restrict. `None`: it cannot be read.
    subject: fn(&Object<'_>) -> Option<Expression>,
}

/// A policy of another engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignPolicy {
    name: PolicyName,
    subject: Expression,
}

/// An object of a foreign kind.
struct Object<'a> {
    group: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
    /// The whole object.
    content: &'a Value,
}

/// All kinds that are known.
pub static FOREIGN_KINDS: [ForeignKind; 11] = [
    namespaced(
        "projectcalico.org",
        "NetworkPolicy",
        "networkpolicies",
        calico::subject,
    ),
    of_cluster(
        "projectcalico.org",
        "GlobalNetworkPolicy",
        "globalnetworkpolicies",
        calico::subject,
    ),
    namespaced(
        "crd.projectcalico.org",
        "NetworkPolicy",
        "networkpolicies",
        calico::subject,
    ),
    of_cluster(
        "crd.projectcalico.org",
        "GlobalNetworkPolicy",
        "globalnetworkpolicies",
        calico::subject,
    ),
    namespaced(
        "cilium.io",
        "CiliumNetworkPolicy",
        "ciliumnetworkpolicies",
        cilium::subject,
    ),
    of_cluster(
        "cilium.io",
        "CiliumClusterwideNetworkPolicy",
        "ciliumclusterwidenetworkpolicies",
        cilium::subject,
    ),
    namespaced(
        "crd.antrea.io",
        "NetworkPolicy",
        "networkpolicies",
        antrea::subject,
    ),
    of_cluster(
        "crd.antrea.io",
        "ClusterNetworkPolicy",
        "clusternetworkpolicies",
        antrea::subject,
    ),
    namespaced(
        "networking.k8s.aws",
        "ApplicationNetworkPolicy",
        "applicationnetworkpolicies",
        // Its fields that select pods are the same.
        multi::subject,
    ),
    of_cluster(
        "networking.k8s.aws",
        "ClusterNetworkPolicy",
        "clusternetworkpolicies",
        amazon::subject,
    ),
    namespaced(
        "k8s.cni.cncf.io",
        "MultiNetworkPolicy",
        "multi-networkpolicies",
        multi::subject,
    ),
];

impl ForeignKind {
    /// Reads an object of the kind.
    pub fn read(&self, namespace: Option<&str>, name: &str, content: &Value) -> ForeignPolicy {
        let object = Object {
            group: self.kind.group,
            namespace,
            name,
            content,
        };
        let unreadable = || match namespace {
            Some(namespace) => Expression::in_namespace(namespace),
            None => Expression::Always,
        };
        ForeignPolicy {
            name: PolicyName {
                kind: self.kind,
                namespace: namespace.map(str::to_owned),
                name: name.to_owned(),
            },
            subject: (self.subject)(&object).unwrap_or_else(unreadable),
        }
    }
}

impl ForeignPolicy {
    /// Returns kind, namespace and name.
    pub const fn name(&self) -> &PolicyName {
        &self.name
    }

    /// Returns whether the policy might restrict what others send to a pod. `of_namespace` are the labels of
    /// the pod's namespace, if they are known.
    pub fn may_restrict(&self, pod: &Pod, of_namespace: Option<&Labels>) -> bool {
        let endpoint = Endpoint {
            namespace: &pod.namespace,
            of_namespace,
            labels: &pod.labels,
        };
        self.subject.holds(&endpoint) != Some(false)
    }
}

impl Object<'_> {
    fn spec(&self) -> &Value {
        &self.content["spec"]
    }

    /// Returns a condition that holds for the pods that the object could select: those of its namespace, or
    /// all.
    fn reach(&self) -> Expression {
        self.namespace
            .map_or(Expression::Always, Expression::in_namespace)
    }
}

/// Returns whether a list of an object has an entry. What is no list may be one of a later version.
fn has_entries(list: &Value) -> bool {
    match list {
        Value::Null => false,
        Value::Array(entries) => !entries.is_empty(),
        _ => true,
    }
}

const fn namespaced(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    subject: fn(&Object<'_>) -> Option<Expression>,
) -> ForeignKind {
    let kind = PolicyKind { group, kind };
    ForeignKind {
        kind,
        plural,
        namespaced: true,
        subject,
    }
}

const fn of_cluster(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    subject: fn(&Object<'_>) -> Option<Expression>,
) -> ForeignKind {
    let kind = namespaced(group, kind, plural, subject);
    ForeignKind {
        namespaced: false,
        ..kind
    }
}
