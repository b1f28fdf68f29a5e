//! What pods and the node lack for what their rules want.

use xdp_plan::{
    compile::Desired,
    facts::{NotReady, Readiness},
    installed::SlotIdentity,
    report::Problem,
};

use crate::node::system;

/// What the node's own setting means for flows that are lost.
pub(super) fn loose(needs_ways: bool) -> Option<Problem> {
    (needs_ways && system::picks_up_connections() == Some(false)).then(|| {
        let message = "nf_conntrack_tcp_loose is 0: a connection that the programs no longer know (its entry was \
                       evicted, or its policy was removed and it was silent for a minute) is dropped by the stack, \
                       where rules drop what connection tracking calls INVALID, instead of going on there";
        let remedy = "sysctl -w net.netfilter.nf_conntrack_tcp_loose=1, or make the tables large enough (--flows)";
        Problem::new("connection tracking", "TcpLooseOff", message, remedy)
    })
}

/// Pods that cannot be delivered to as their rules want: those with which it may work later, or the others.
pub(super) fn unready(desired: &Desired, transient: bool) -> Vec<Problem> {
    let deliveries = desired.pods.iter().flat_map(|pod| {
        let deliveries = [&pod.readiness, &pod.peer, &pod.reply_path].into_iter();
        deliveries.map(|readiness| (&pod.identity, readiness))
    });
    deliveries
        .filter(|(_, readiness)| is_transient(readiness) == transient)
        .filter_map(|(pod, readiness)| not_ready(pod, readiness))
        .collect()
}

/// A link that comes up and a kind that changes announce themselves; all else is tried again.
fn is_transient(readiness: &Readiness) -> bool {
    matches!(readiness, Readiness::NotReady { reason, .. }
        if !matches!(reason, NotReady::LinkDown | NotReady::NotVeth))
}

fn not_ready(pod: &SlotIdentity, readiness: &Readiness) -> Option<Problem> {
    let Readiness::NotReady { reason, message } = readiness else {
        return None;
    };
    if *reason == NotReady::NotPrepared {
        // Nothing asks it to be ready.
        return None;
    }
    let remedy = "its Redirect rules pass to the stack until then; the agent tries again by itself";
    Some(Problem::new(
        format!("Pod {}/{}", pod.namespace, pod.pod),
        format!("{reason:?}"),
        message,
        remedy,
    ))
}
