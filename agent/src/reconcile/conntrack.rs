//! The node's own setting for connections that it picks up in the middle.

use xdp_plan::report::Problem;

use crate::reconcile::kernel::Kernel;

/// Warns when connection tracking drops what it did not see from the beginning: flows that leave the flow
/// tables.
pub(super) fn warn_strict_conntrack(kernel: &impl Kernel, needs_reply_path: bool) -> Option<Problem> {
    (needs_reply_path && kernel.picks_up_connections() == Some(false)).then(|| {
        let message = "nf_conntrack_tcp_loose is 0: a connection that the programs no longer know (its entry was \
                       evicted, or its policy was removed and it was silent for a minute) is dropped by the stack, \
                       where rules drop what connection tracking calls INVALID, instead of going on there";
        let remedy = "sysctl -w net.netfilter.nf_conntrack_tcp_loose=1, or make the tables large enough (--flows)";
        Problem::new("connection tracking", "TcpLooseOff", message, remedy)
    })
}
