//! Judges for each selected pod whether its policies are programmed.

use std::{collections::BTreeMap, sync::Arc};

use xdp_crds::{PodState, conditions::node};

use super::{MAX_LISTED, Reconciled, TABLES, TableState, selects, short};
use crate::{
    desired::DesiredPod,
    facts::{NotReady, Readiness},
    fair::in_turns,
    permission,
    pod::Pod,
    policy::{Delivery, Policy},
    programmed::Programmed,
    report::Problem,
};

/// The reason why a policy is not programmed for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// The policy's reason, one of [`node`].
    pub(super) reason: &'static str,
    /// The pod's own reason.
    pub(super) own: String,
    pub(super) message: String,
}

/// All pods of the node.
pub(super) struct Pods<'a> {
    all: Vec<PodStatus<'a>>,
}

/// A pod with its tables and problems.
pub(super) struct PodStatus<'a> {
    pub(super) pod: &'a Pod,
    selected: bool,
    /// The pod's desired tables, and whether they are programmed.
    desired: Vec<(&'a DesiredPod, bool)>,
    problem: Option<&'a Problem>,
    /// The problem of a failed change to the tables.
    refusal: Option<&'a Problem>,
}

impl<'a> Pods<'a> {
    pub(super) fn new(reconciled: &Reconciled<'a>) -> Self {
        let mut desired = match &reconciled.tables {
            Ok(tables) => by_pod(tables),
            Err(_) => BTreeMap::new(),
        };
        let problems: BTreeMap<&str, &Problem> = match &reconciled.tables {
            Ok(tables) => tables.targets.problems.iter().chain(&tables.desired.problems),
            Err(_) => [].iter().chain(&[]),
        }
        .map(|problem| (problem.object.as_str(), problem))
        .collect();
        let refusal = reconciled
            .problems
            .iter()
            .find(|problem| problem.object == TABLES);
        let status = |pod: &'a Arc<Pod>| PodStatus {
            pod,
            selected: reconciled
                .node_policies
                .iter()
                .filter_map(|node_policy| node_policy.policy.as_deref())
                .any(|policy| selects(policy, pod)),
            desired: desired.remove(&(&*pod.namespace, &*pod.name)).unwrap_or_default(),
            problem: problems.get(pod.to_string().as_str()).copied(),
            refusal,
        };
        Self {
            all: reconciled.pods.iter().map(status).collect(),
        }
    }

    /// Returns the pods that a policy selects.
    pub(super) fn selected_by(&self, policy: &Policy) -> Vec<&PodStatus<'a>> {
        let selected = self.all.iter().filter(|pod| selects(policy, pod.pod));
        selected.collect()
    }

    /// Returns the pods with a problem, sorted by name.
    pub(super) fn states(&self) -> Vec<PodState> {
        // Of a pod without desired tables and without a problem, the policies' own reasons tell why.
        let is_judged = |pod: &&PodStatus<'_>| pod.problem.is_some() || !pod.desired.is_empty();
        let judged = self.all.iter().filter(|pod| pod.selected).filter(is_judged);
        let mut states: Vec<PodState> = judged
            .filter_map(|pod| {
                let Obstacle { own, message, .. } = pod.obstacle(&[Delivery::Redirect, Delivery::Peer])?;
                Some(PodState {
                    namespace: pod.pod.namespace.clone(),
                    name: pod.pod.name.clone(),
                    reason: own,
                    message: short(&message),
                })
            })
            .collect();
        states.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        in_turns(states, MAX_LISTED, |state| state.namespace.clone())
    }
}

fn by_pod<'a>(tables: &TableState<'a>) -> BTreeMap<(&'a str, &'a str), Vec<(&'a DesiredPod, bool)>> {
    let programmed = Programmed::new(tables.installed).with_differ(tables.differ);
    let mut pods = BTreeMap::<_, Vec<_>>::new();
    for pod in &tables.desired.pods {
        let key = (pod.identity.namespace.as_str(), pod.identity.pod.as_str());
        pods.entry(key).or_default().push((pod, programmed.holds(pod)));
    }
    pods
}

impl PodStatus<'_> {
    /// Returns why the connections that the pod opens cannot be noted.
    pub(super) fn stateless(&self) -> Option<&str> {
        let mut desired = self.desired.iter();
        desired.find_map(|(pod, _)| match &pod.reply_path {
            Readiness::NotReady { reason, message } if *reason != NotReady::NotPrepared => {
                Some(message.as_str())
            }
            _ => None,
        })
    }

    /// Returns why the rules of a policy are not programmed for the pod. `deliveries`: the deliveries that
    /// the policy redirects with.
    pub(super) fn obstacle(&self, deliveries: &[Delivery]) -> Option<Obstacle> {
        if let Some(problem) = self.problem {
            return Some(Obstacle {
                reason: node::POD_NOT_READY,
                own: problem.reason.clone(),
                message: problem.message.clone(),
            });
        }
        let missing = self.desired.is_empty() || self.desired.iter().any(|(_, holds)| !holds);
        if missing {
            return Some(self.missing());
        }
        let not_ready = |(pod, _): &(&DesiredPod, bool)| {
            if pod.not_permitted && !deliveries.is_empty() {
                return Some(self.not_permitted());
            }
            deliveries.iter().find_map(|delivery| {
                let own = match delivery {
                    Delivery::Redirect => &pod.readiness,
                    Delivery::Peer => &pod.peer,
                };
                refuses_redirects(own).or_else(|| refuses_redirects(&pod.reply_path))
            })
        };
        self.desired.iter().find_map(not_ready)
    }

    fn not_permitted(&self) -> Obstacle {
        Obstacle {
            reason: node::NOT_PERMITTED,
            own: node::NOT_PERMITTED.to_owned(),
            message: permission::not_permitted(&self.pod.namespace),
        }
    }

    fn missing(&self) -> Obstacle {
        match self.refusal {
            Some(refusal) => Obstacle {
                reason: node::KERNEL_REFUSED,
                own: refusal.reason.clone(),
                message: refusal.message.clone(),
            },
            None => Obstacle {
                reason: node::PENDING,
                own: node::PENDING.to_owned(),
                message: "the rules are not in the kernel's tables yet".to_owned(),
            },
        }
    }
}

/// Returns why the pod takes no redirected packets. A pod that was not prepared has no rule that redirects to
/// it.
fn refuses_redirects(readiness: &Readiness) -> Option<Obstacle> {
    match readiness {
        Readiness::Ready
        | Readiness::NotReady {
            reason: NotReady::NotPrepared,
            ..
        } => None,
        Readiness::NotReady { reason, message } => Some(Obstacle {
            reason: node::POD_NOT_READY,
            own: format!("{reason:?}"),
            message: format!("packets of Redirect rules pass to the stack: {message}"),
        }),
    }
}
