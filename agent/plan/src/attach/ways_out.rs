//! Interfaces by which packets of pods leave the node without passing a NIC that has the program.
//!
//! A datagram that a pod opens may leave by any of them, translated on the way, and be answered by a NIC with
//! the program. `nic_out` notes it there, too, so that the answer is left to the stack.

use crate::nics::NicFacts;

/// Interfaces whose packets leave by others, where they are seen; and those by which nothing leaves.
const NOT_LAST: [&str; 14] = [
    "bridge",
    "bond",
    "team",
    "vlan",
    "macvlan",
    "macvtap",
    "ipvlan",
    "ipvtap",
    "vrf",
    "openvswitch",
    "dummy",
    "ifb",
    "nlmon",
    "hsr",
];
/// Ends of pairs: most of them lead to pods.
const PAIRS: [&str; 2] = ["veth", "netkit"];

/// Returns whether packets leave the node by this interface. Of an end of a pair, that is so if it has a
/// network of its own, as a node in a container has.
pub(super) fn is_way_out(nic: &NicFacts) -> bool {
    let kind = nic.link.kind.as_str();
    // Without a link-layer address there is no Ethernet header, which the program needs.
    let is_ethernet = nic.link.mac != [0; 6];
    let leads_out = !PAIRS.contains(&kind) || nic.has_network;
    is_ethernet && leads_out && !nic.link.loopback && !NOT_LAST.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nics::HostLink;

    fn nic(kind: &str, has_network: bool) -> NicFacts {
        NicFacts {
            link: HostLink {
                kind: kind.to_owned(),
                mac: [2, 0, 0, 0, 0, 1],
                ..HostLink::default()
            },
            has_network,
            ..NicFacts::default()
        }
    }

    #[test]
    fn packets_leave_by_hardware_and_by_ethernet_tunnels() {
        for kind in ["", "vxlan", "geneve", "gretap", "macsec", "tun"] {
            assert!(is_way_out(&nic(kind, false)), "{kind}");
        }
    }

    #[test]
    fn packets_of_stacked_interfaces_leave_by_those_below() {
        for kind in NOT_LAST {
            assert!(!is_way_out(&nic(kind, true)), "{kind}");
        }
    }

    #[test]
    fn of_the_ends_of_pairs_only_one_with_a_network_leads_out() {
        for kind in PAIRS {
            assert!(!is_way_out(&nic(kind, false)), "{kind}");
            assert!(is_way_out(&nic(kind, true)), "{kind}");
        }
    }

    #[test]
    fn packets_do_not_leave_by_loopback_or_without_an_ethernet_header() {
        let mut loopback = nic("", true);
        loopback.link.loopback = true;
        assert!(!is_way_out(&loopback));
        let mut raw = nic("wireguard", true);
        raw.link.mac = [0; 6];
        assert!(!is_way_out(&raw));
    }
}
