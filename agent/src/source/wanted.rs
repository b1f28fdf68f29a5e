//! The interface of all sources to the reconcile loop.

use std::{sync::Arc, time::Instant};

use xdp_crds::XdpNodeStateStatus;
use xdp_plan::{pod::Pod, policy::Policy, report::Problem, resolve::NodePolicy, targets::PodCertainty};

use crate::source::{cluster::Cluster, manifests::Manifests};

/// A source of policies and pods.
pub(crate) enum ObjectSource {
    /// A directory of manifests.
    Manifests(Box<Manifests>),
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
    /// What `NetworkPolicies` and the like certainly allow to pods with rules that redirect.
    pub(crate) certainty: PodCertainty,
    /// Whether that is left to evaluate for pods; until then, nothing is certain for them.
    pub(crate) unfinished: bool,
}

impl ObjectSource {
    /// Reads what has changed, or everything if `all`. Returns the problems, and the time of the oldest
    /// change.
    pub(crate) fn reload(&mut self, all: bool) -> (Vec<Problem>, Option<Instant>) {
        match self {
            Self::Manifests(manifests) => (manifests.reload(all), None),
            Self::Cluster(cluster) => cluster.reload(),
        }
    }

    /// Returns the objects, or `None` while they are unknown: then nothing that is programmed may change.
    pub(crate) fn objects(&mut self) -> Option<Objects> {
        match self {
            Self::Manifests(manifests) => Some(manifests.objects()),
            Self::Cluster(cluster) => cluster.objects(),
        }
    }

    /// Publishes the status of this node, if the source is a cluster.
    pub(crate) fn publish(&self, status: XdpNodeStateStatus) {
        match self {
            Self::Manifests(_) => {}
            Self::Cluster(cluster) => cluster.publish(status),
        }
    }
}
