//! The interfaces above a NIC, and what they mean for its packets.

use std::collections::BTreeSet;

use super::{HostLink, reason, tunnels::tunnel_not_decided};
use crate::report::Problem;

/// Interfaces above a NIC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uppers {
    /// The bond, bridge or the like that the NIC is a part of: its name, and its kind as `ip -details link`
    /// shows it.
    pub master: Option<(String, String)>,
    /// Names of the VLAN interfaces on the NIC, or on its master.
    pub vlans: Vec<String>,
}

/// Finds the interfaces above a NIC among those of its namespace.
pub fn uppers(nic: &HostLink, links: &[HostLink]) -> Uppers {
    let master = links.iter().find(|link| Some(link.ifindex) == nic.master);
    let lower: BTreeSet<u32> = [Some(nic.ifindex), nic.master].into_iter().flatten().collect();
    let is_vlan = |link: &&HostLink| {
        let on = link.link.filter(|_| link.link_netns.is_none());
        link.kind == "vlan" && on.is_some_and(|on| lower.contains(&on))
    };
    Uppers {
        master: master.map(|master| (master.name.clone(), master.kind.clone())),
        vlans: links
            .iter()
            .filter(is_vlan)
            .map(|link| link.name.clone())
            .collect(),
    }
}

/// Returns what an administrator should know about the interfaces above a NIC. None of it prevents the
/// attachment. `strips`: the NIC removes VLAN tags. `selected`: the names of the selected NICs.
pub fn advice(
    nic: &HostLink,
    links: &[HostLink],
    strips: Option<bool>,
    selected: &BTreeSet<String>,
) -> Vec<Problem> {
    let uppers = uppers(nic, links);
    let mut advice = Vec::new();
    if strips == Some(true) && !uppers.vlans.is_empty() {
        advice.push(hidden_tags(&nic.name, &uppers.vlans));
    }
    if let Some((master, kind)) = &uppers.master
        && matches!(kind.as_str(), "bond" | "team")
    {
        let others = links.iter().filter(|link| link.master == nic.master);
        let missing: Vec<&str> = others
            .map(|link| link.name.as_str())
            .filter(|name| !selected.contains(*name))
            .collect();
        if !missing.is_empty() {
            advice.push(not_all_members(&nic.name, master, &missing));
        }
    }
    advice.extend(tunnel_not_decided(nic, links));
    advice
}

fn hidden_tags(name: &str, vlans: &[String]) -> Problem {
    let message = format!(
        "`{name}` strips VLAN tags before the program sees them, and the VLAN interfaces {} are above it: packets of \
         a VLAN are decided about like untagged ones, and their answers leave without a tag",
        vlans.join(", ")
    );
    Problem::of_nic(
        name,
        reason::HIDDEN_VLAN_TAGS,
        message,
        format!("ethtool -K {name} rxvlan off"),
    )
}

fn not_all_members(name: &str, master: &str, missing: &[&str]) -> Problem {
    let message = format!(
        "`{name}` is a part of `{master}`, of which {} is not selected: packets that arrive there bypass the policies",
        missing.join(", ")
    );
    let remedy = "select all parts of the interface; the program is attached to each".to_owned();
    Problem::of_nic(name, reason::PART_OF_BOND, message, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, name: &str, kind: &str) -> HostLink {
        HostLink {
            ifindex,
            name: name.to_owned(),
            kind: kind.to_owned(),
            ..HostLink::default()
        }
    }

    fn bond() -> Vec<HostLink> {
        let part = |ifindex, name| HostLink {
            master: Some(4),
            ..link(ifindex, name, "")
        };
        let vlan = HostLink {
            link: Some(4),
            ..link(5, "bond0.7", "vlan")
        };
        vec![
            part(2, "ens1f0"),
            part(3, "ens1f1"),
            link(4, "bond0", "bond"),
            vlan,
        ]
    }

    fn reasons(strips: Option<bool>, selected: &[&str]) -> Vec<String> {
        let links = bond();
        let selected = selected.iter().map(|name| (*name).to_owned()).collect();
        let advice = advice(&links[0], &links, strips, &selected);
        advice.into_iter().map(|problem| problem.reason).collect()
    }

    #[test]
    fn the_master_and_vlans_on_nic_and_master_are_found() {
        let links = bond();
        let found = uppers(&links[0], &links);
        assert_eq!(found.master, Some(("bond0".to_owned(), "bond".to_owned())));
        assert_eq!(found.vlans, ["bond0.7"]);
        assert_eq!(uppers(&links[3], &links), Uppers::default());
    }

    #[test]
    fn a_vlan_of_another_namespace_is_not_above() {
        let mut links = bond();
        links[3].link_netns = Some(1);
        assert!(uppers(&links[0], &links).vlans.is_empty());
    }

    #[test]
    fn all_parts_of_a_bond_have_to_be_selected() {
        assert_eq!(reasons(None, &["ens1f0"]), [reason::PART_OF_BOND]);
        assert!(reasons(None, &["ens1f0", "ens1f1"]).is_empty());
    }

    #[test]
    fn tags_that_the_nic_strips_are_advised_about() {
        let all = ["ens1f0", "ens1f1"];
        assert_eq!(reasons(Some(true), &all), [reason::HIDDEN_VLAN_TAGS]);
        assert!(reasons(Some(false), &all).is_empty());
    }
}
