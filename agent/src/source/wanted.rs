//! What the loop asks of its source, whichever it is.

use std::{sync::Arc, time::Instant};

use xdp_crds::XdpNodeStateStatus;
use xdp_plan::{
    pod::Pod,
    policy::Policy,
    report::Problem,
    resolve::{NodePolicy, without_cluster},
};

use crate::source::{Manifests, cluster::Cluster};

/// Where policies and pods come from.
pub(crate) enum Source {
    /// A folder.
    Manifests(Manifests),
    /// A cluster.
    Cluster(Box<Cluster>),
}

/// What is wanted of this node.
pub(crate) struct Objects {
    /// Policies to be put in force.
    pub(crate) policies: Vec<Arc<Policy>>,
    /// Pods they may select.
    pub(crate) pods: Vec<Arc<Pod>>,
    /// Policies that apply here, in force or not.
    pub(crate) node_policies: Vec<NodePolicy>,
    /// Policies that cannot be put in force.
    pub(crate) problems: Vec<Problem>,
}

impl Source {
    /// Takes over what has changed. Returns what is wrong with it, and since when it has been waiting.
    /// `all`: look also at what no event was about.
    pub(crate) fn reload(&mut self, all: bool) -> (Vec<Problem>, Option<Instant>) {
        match self {
            Self::Manifests(manifests) => (manifests.reload(all), None),
            Self::Cluster(cluster) => cluster.reload(),
        }
    }

    /// What is wanted; `None`: not known yet, so nothing in force may be touched.
    pub(crate) fn objects(&mut self) -> Option<Objects> {
        match self {
            Self::Manifests(manifests) => {
                let (policies, pods) = manifests.objects();
                let (policies, problems) = without_cluster(policies);
                let node_policies = policies.iter().map(as_written).collect();
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

    /// Says what the node is like now, to whom it may concern.
    pub(crate) fn publish(&self, status: XdpNodeStateStatus) {
        match self {
            Self::Manifests(_) => {}
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
