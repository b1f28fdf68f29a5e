//! Tunnel devices over NICs: the program on the NIC sees the outer packet only.

use super::{HostLink, reason};
use crate::report::Problem;

/// Interfaces can be stacked on others, but not for ever.
const MOST_LAYERS: u32 = 8;

/// Returns the problem of a NIC with tunnels over it: what arrives inside a tunnel is not decided.
pub fn tunnel_not_decided(nic: &HostLink, links: &[HostLink]) -> Option<Problem> {
    let over = links.iter().filter(|link| is_over(link, nic, links));
    let tunnels: Vec<String> = over
        .map(|link| format!("`{}` ({})", link.name, link.kind))
        .collect();
    if tunnels.is_empty() {
        return None;
    }
    let message = format!(
        "packets inside a tunnel are not decided, neither dropped nor rejected nor limited nor redirected: {} may carry \
         packets of pods over `{}`, and rules see the outer packet only",
        tunnels.join(", "),
        nic.name
    );
    let remedy = "use the network plugin without encapsulation, or enforce what has to be dropped by NetworkPolicy; if the \
                  tunnel carries no packets to pods, ignore this";
    Some(Problem::of_nic(
        &nic.name,
        reason::TUNNEL_NOT_DECIDED,
        message,
        remedy,
    ))
}

/// Whether a tunnel's packets may arrive by the NIC.
fn is_over(link: &HostLink, nic: &HostLink, links: &[HostLink]) -> bool {
    let Some(tunnel) = link.tunnel else { return false };
    let is_here = link.up && link.link_netns.is_none();
    is_here
        && tunnel
            .lower
            .is_none_or(|lower| is_part(lower, nic.ifindex, links, MOST_LAYERS))
}

/// Whether packets of an interface pass the NIC: it is the NIC, is stacked on it, or the NIC is a part of it.
fn is_part(interface: u32, nic: u32, links: &[HostLink], layers: u32) -> bool {
    if interface == nic {
        return true;
    }
    let Some(layers) = layers.checked_sub(1) else {
        return false;
    };
    let below = links.iter().filter_map(|link| {
        let is_lower = link.ifindex == interface && link.link_netns.is_none();
        let lower = link.link.filter(|_| is_lower);
        let port = (link.master == Some(interface)).then_some(link.ifindex);
        lower.or(port)
    });
    below.into_iter().any(|below| is_part(below, nic, links, layers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nics::Tunnel;

    fn link(ifindex: u32, name: &str, kind: &str) -> HostLink {
        HostLink {
            ifindex,
            name: name.to_owned(),
            kind: kind.to_owned(),
            up: true,
            ..HostLink::default()
        }
    }

    fn tunnel(kind: &str, lower: Option<u32>) -> HostLink {
        HostLink {
            tunnel: Some(Tunnel { lower }),
            ..link(9, "tunnel", kind)
        }
    }

    /// Two NICs; the second is a part of a bond with a VLAN.
    fn node(tunnel: HostLink) -> Vec<HostLink> {
        let part = HostLink {
            master: Some(4),
            ..link(3, "eth1", "")
        };
        let vlan = HostLink {
            link: Some(4),
            ..link(5, "bond0.7", "vlan")
        };
        vec![link(2, "eth0", ""), part, link(4, "bond0", "bond"), vlan, tunnel]
    }

    fn over(tunnel: HostLink) -> [bool; 2] {
        let links = node(tunnel);
        [0, 1].map(|nic| tunnel_not_decided(&links[nic], &links).is_some())
    }

    #[test]
    fn a_tunnel_is_over_the_nic_that_its_packets_leave_by() {
        assert_eq!(over(tunnel("vxlan", Some(2))), [true, false]);
        assert_eq!(over(tunnel("vxlan", Some(3))), [false, true]);
        assert_eq!(over(tunnel("vxlan", Some(4))), [false, true], "a bond");
        assert_eq!(over(tunnel("vxlan", Some(5))), [false, true], "a VLAN of a bond");
    }

    #[test]
    fn a_tunnel_without_a_lower_interface_may_be_over_any_nic() {
        for kind in ["wireguard", "geneve", "vxlan", "ipip"] {
            assert_eq!(over(tunnel(kind, None)), [true, true], "{kind}");
        }
    }

    #[test]
    fn a_tunnel_that_is_down_or_of_another_namespace_carries_nothing() {
        let down = HostLink {
            up: false,
            ..tunnel("ipip", None)
        };
        assert_eq!(over(down), [false, false]);
        let elsewhere = HostLink {
            link_netns: Some(1),
            ..tunnel("wireguard", None)
        };
        assert_eq!(over(elsewhere), [false, false]);
    }

    #[test]
    fn interfaces_that_name_each_other_are_no_endless_stack() {
        let mut links = node(tunnel("vxlan", Some(5)));
        links[3].link = Some(5);
        assert!(tunnel_not_decided(&links[0], &links).is_none());
    }

    #[test]
    fn the_problem_names_the_tunnel_and_the_nic() {
        let links = node(tunnel("vxlan", Some(2)));
        let problem = tunnel_not_decided(&links[0], &links).unwrap();
        assert_eq!(
            (problem.nic(), problem.reason.as_str()),
            (Some("eth0"), "TunnelNotDecided")
        );
        assert!(problem.message.contains("`tunnel` (vxlan)"), "{problem:?}");
    }
}
