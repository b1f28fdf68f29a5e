//! The interface of all sources to the reconcile loop.

use std::{sync::Arc, time::Instant};

use xdp_crds::XdpNodeStateStatus;
use xdp_plan::{
    permission,
    pod::Pod,
    policy::{Policy, RedirectNamespaces},
    report::Problem,
    resolve::{NodePolicy, without_cluster},
};

use crate::source::{ManifestSource, cluster::Cluster};

/// A source of policies and pods.
pub(crate) enum ObjectSource {
    /// A directory of manifests, and the namespaces in which rules may redirect.
    Manifests(ManifestSource, RedirectNamespaces),
    /// A cluster.
    Cluster(Box<Cluster>),
}

/// The objects that this node has to program.
pub(crate) struct Objects {
    /// Policies to program.
    pub(crate) policies: Vec<Arc<Policy>>,
    /// Pods that policies can select.
    pub(crate) pods: Vec<Arc<Pod>>,
    /// Policies that apply to this node, programmed or not.
    pub(crate) node_policies: Vec<NodePolicy>,
    /// Problems of policies that cannot be programmed.
    pub(crate) problems: Vec<Problem>,
}

impl ObjectSource {
    /// Reads what has changed, or everything if `all`. Returns the problems, and the time of the oldest
    /// change.
    pub(crate) fn reload(&mut self, all: bool) -> (Vec<Problem>, Option<Instant>) {
        match self {
            Self::Manifests(manifests, _) => (manifests.reload(all), None),
            Self::Cluster(cluster) => cluster.reload(),
        }
    }

    /// Returns the objects, or `None` while they are unknown: then nothing that is programmed may change.
    pub(crate) fn objects(&mut self) -> Option<Objects> {
        match self {
            Self::Manifests(manifests, permitted) => {
                let (policies, pods) = manifests.objects();
                let (mut policies, mut problems) = without_cluster(policies);
                let namespaces = permission::without_cluster(&manifests.namespaces(), &policies);
                permission::apply(&mut policies, &mut [], permitted, &namespaces);
                let node_policies: Vec<NodePolicy> = policies.iter().map(as_written).collect();
                problems.extend(permission::problems(&node_policies, &pods));
                Some(Objects {
                    policies,
                    pods,
                    node_policies,
                    problems,
                })
            }
            Self::Cluster(cluster) => cluster.objects(),
        }
    }

    /// Publishes the status of this node, if the source is a cluster.
    pub(crate) fn publish(&self, status: XdpNodeStateStatus) {
        match self {
            Self::Manifests(..) => {}
            Self::Cluster(cluster) => cluster.publish(status),
        }
    }
}

fn as_written(policy: &Arc<Policy>) -> NodePolicy {
    NodePolicy {
        namespace: policy.namespace.clone(),
        name: policy.name.clone(),
        uid: policy.uid.clone(),
        generation: policy.generation,
        policy: Some(Arc::clone(policy)),
        obstacle: None,
    }
}
