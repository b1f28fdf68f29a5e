//! Pods that cannot be delivered to as their rules want, as problems.

use crate::{
    desired::Desired,
    facts::{NotReady, Readiness},
    installed::SlotIdentity,
    report::Problem,
};

/// Lists the pods that cannot be delivered to as their rules want: with `transient` those where a later try
/// may help, without it those where an event of the kernel tells that something has changed.
pub fn pod_problems(desired: &Desired, transient: bool) -> Vec<Problem> {
    let deliveries = desired.pods.iter().flat_map(|pod| {
        let deliveries = [&pod.readiness, &pod.peer, &pod.reply_path].into_iter();
        deliveries.map(|readiness| (&pod.identity, readiness))
    });
    deliveries
        .filter(|(_, readiness)| is_transient(readiness) == transient)
        .filter_map(|(pod, readiness)| problem(pod, readiness))
        .collect()
}

/// The kernel reports a link that comes up and a kind that changes; all else is tried again.
fn is_transient(readiness: &Readiness) -> bool {
    matches!(readiness, Readiness::NotReady { reason, .. }
        if !matches!(reason, NotReady::LinkDown | NotReady::NotVeth))
}

fn problem(pod: &SlotIdentity, readiness: &Readiness) -> Option<Problem> {
    let Readiness::NotReady { reason, message } = readiness else {
        return None;
    };
    if *reason == NotReady::NotPrepared {
        // No rule needs it to be ready.
        return None;
    }
    let remedy = if *reason == NotReady::NoReplyPath {
        "until then its Redirect rules pass to the stack, and its other rules are stateless: Drop, Reject and limits \
         apply to the packets of connections that the pod opens, too; the agent tries again by itself"
    } else {
        "its Redirect rules pass to the stack until then; the agent tries again by itself"
    };
    Some(Problem::new(
        format!("Pod {}/{}", pod.namespace, pod.pod),
        format!("{reason:?}"),
        message,
        remedy,
    ))
}
