//! The selected pods of a node: which of them packets meet as the policies say.

use std::{collections::BTreeMap, sync::Arc};

use xdp_crds::{PodState, conditions::node};

use super::{MAX_LISTED, Reconciled, TABLES, TableState, selects, short};
use crate::{
    compile::DesiredPod,
    facts::{NotReady, Readiness},
    pod::Pod,
    policy::{Delivery, Policy},
    programmed::Programmed,
    report::Problem,
};

/// Why a policy is not in force for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// One of [`node`]: for the policy.
    pub(super) reason: &'static str,
    /// For the pod.
    pub(super) own: String,
    pub(super) message: String,
}

/// All pods of the node.
pub(super) struct Pods<'a> {
    known: Vec<PodFacts<'a>>,
}

/// A pod and what concerns it.
pub(super) struct PodFacts<'a> {
    pub(super) pod: &'a Pod,
    selected: bool,
    /// Its interfaces should have rules, and whether they have them.
    desired: Vec<(&'a DesiredPod, bool)>,
    problem: Option<&'a Problem>,
    /// A change of the tables failed.
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
        let facts = |pod: &'a Arc<Pod>| PodFacts {
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
            known: reconciled.pods.iter().map(facts).collect(),
        }
    }

    /// The pods that a policy is for.
    pub(super) fn selected_by(&self, policy: &Policy) -> Vec<&PodFacts<'a>> {
        let selected = self.known.iter().filter(|facts| selects(policy, facts.pod));
        selected.collect()
    }

    /// Pods with a problem, by name.
    pub(super) fn states(&self) -> Vec<PodState> {
        // A pod for which nothing should be in the tables has policies that say why.
        let judged = |facts: &&PodFacts<'_>| facts.problem.is_some() || !facts.desired.is_empty();
        let troubled = self.known.iter().filter(|facts| facts.selected).filter(judged);
        let mut states: Vec<PodState> = troubled
            .filter_map(|facts| {
                let Obstacle { own, message, .. } = facts.obstacle(&[Delivery::Redirect, Delivery::Peer])?;
                Some(PodState {
                    namespace: facts.pod.namespace.clone(),
                    name: facts.pod.name.clone(),
                    reason: own,
                    message: short(&message),
                })
            })
            .collect();
        states.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        states.truncate(MAX_LISTED);
        states
    }
}

fn by_pod<'a>(tables: &TableState<'a>) -> BTreeMap<(&'a str, &'a str), Vec<(&'a DesiredPod, bool)>> {
    let programmed = Programmed::new(tables.installed).knowing(tables.differ);
    let mut pods = BTreeMap::<_, Vec<_>>::new();
    for pod in &tables.desired.pods {
        let key = (pod.identity.namespace.as_str(), pod.identity.pod.as_str());
        pods.entry(key).or_default().push((pod, programmed.holds(pod)));
    }
    pods
}

impl PodFacts<'_> {
    /// Why packets for the pod do not go as its policies say. `deliveries`: how the policy in question
    /// redirects, if it does.
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
}

impl PodFacts<'_> {
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
                message: "the kernel's tables do not have its rules yet".to_owned(),
            },
        }
    }
}

/// A pod that no rule redirects to was not asked.
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
            message: format!("its Redirect rules pass to the stack: {message}"),
        }),
    }
}
