//! What it means that something cannot be read.

use xdp_client::error_chain;
use xdp_plan::{nics::HostLink, report::Problem};

use crate::node::netlink::{NetlinkError, reply::Listing};

/// `rtnl_get_net_ns_capable` (net/core/rtnetlink.c, Linux 5.0 and later) answers EINVAL for an id without a
/// namespace, and the kernel ENODEV for an index without an interface.
pub(super) fn vanished(error: &NetlinkError) -> bool {
    matches!(error, NetlinkError::Refused { .. })
        && matches!(error.errno(), Some(libc::EINVAL | libc::ENODEV))
}

pub(super) fn unread(host: &HostLink, error: &NetlinkError) -> Problem {
    let remedy = "the agent asks again by itself; what is known of this pod stays programmed";
    let object = format!("interface {}", host.name);
    let message = format!("what is behind it cannot be read: {}", error_chain(error));
    Problem::new(object, "PodUnreadable", message, remedy)
}

pub(super) fn unread_addresses(host: &HostLink, listing: Listing) -> Problem {
    let message = match listing {
        Listing::Cut => "the interface behind it carries too many addresses to read them all",
        Listing::Changing | Listing::Whole => {
            "the addresses of the interface behind it change faster than they can be read"
        }
    };
    let remedy = "find out what changes them in that pod; other pods are not concerned, and of this one the \
                  addresses that were read before stay programmed";
    Problem::new(
        format!("interface {}", host.name),
        "AddressesUnreadable",
        message,
        remedy,
    )
}
