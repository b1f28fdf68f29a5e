//! Which interfaces are the ends of a pair.

use xdp_plan::{facts::Link, nics::HostLink};

/// Returns the namespace and the index of an interface's other end, if that is in another namespace.
pub(super) fn other_end(link: &HostLink) -> Option<(i32, u32)> {
    let netns_id = link.link_netns.filter(|id| *id >= 0)?;
    Some((netns_id, link.link?))
}

/// Returns whether both interfaces name each other: the id of a deleted namespace can already name a new one.
pub(super) fn names_back(pod: &HostLink, host: &HostLink) -> bool {
    Some(pod.ifindex) == host.link && pod.link == Some(host.ifindex) && pod.link_netns.is_some()
}

pub(super) fn end(link: HostLink) -> Link {
    Link {
        ifindex: link.ifindex,
        name: link.name,
        kind: link.kind,
        up: link.up,
        mtu: link.mtu,
        mac: link.mac,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an interface whose peer is `link` in the namespace with this id.
    fn link(ifindex: u32, link: u32, netns_id: i32) -> HostLink {
        let kind = "netkit".to_owned();
        HostLink {
            ifindex,
            kind,
            link: Some(link),
            link_netns: Some(netns_id),
            ..HostLink::default()
        }
    }

    #[test]
    fn two_interfaces_that_name_each_other_are_a_pair_of_any_kind() {
        let (host, pod) = (link(7, 2, 4), link(2, 7, 0));
        assert_eq!(other_end(&host), Some((4, 2)));
        assert!(names_back(&pod, &host));
    }

    #[test]
    fn an_interface_that_is_not_named_back_has_no_pair() {
        let host = link(7, 2, 4);
        assert!(!names_back(&link(2, 8, 0), &host), "names another one");
        assert!(!names_back(&link(3, 7, 0), &host), "is another one");
        let inside = HostLink {
            link_netns: None,
            ..link(2, 7, 0)
        };
        assert!(!names_back(&inside, &host), "names one of its own namespace");
    }

    #[test]
    fn a_namespace_without_an_id_has_no_pairs() {
        assert_eq!(other_end(&link(7, 2, -1)), None);
    }
}
