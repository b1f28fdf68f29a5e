//! By which of its interfaces a pod answers.
//!
//! A pod may have several interfaces, and routes of its own. What it answers has to leave by the interface
//! that its packets are redirected to, because the programs of the reply path are at the other end. The
//! question is put to the kernel in the pod's network namespace, for some addresses all over the unicast
//! space: its answer includes rules and all tables, and costs the same whatever the pod does there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::net::if_::if_indextoname;

use crate::node::netlink::{
    NetlinkError,
    client::Client,
    {self},
};

/// Public addresses, some in each half and quarter, because routes around the default route are often halves
/// of it; and addresses of the private ranges that are in few networks.
const REMOTES_V4: [Ipv4Addr; 10] = [
    Ipv4Addr::new(1, 0, 0, 1),
    Ipv4Addr::new(62, 0, 0, 1),
    Ipv4Addr::new(96, 0, 0, 1),
    Ipv4Addr::new(130, 0, 0, 1),
    Ipv4Addr::new(190, 0, 0, 1),
    Ipv4Addr::new(222, 0, 0, 1),
    Ipv4Addr::new(10, 213, 97, 11),
    Ipv4Addr::new(172, 27, 213, 11),
    Ipv4Addr::new(192, 168, 213, 11),
    Ipv4Addr::new(100, 101, 97, 11),
];
const REMOTES_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2600, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2a00, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xfd5a, 0x97, 0x213, 0, 0, 0, 0, 0x11),
];

/// Returns how the pod in the calling thread's namespace answers by another interface than `own`; `None`: it
/// does not.
pub(super) fn other_exit(own: u32, addresses: &[IpAddr]) -> Result<Option<String>, NetlinkError> {
    let client = &mut Client::route()?;
    for (source, remote) in questions(addresses) {
        let exit = netlink::output_interface(client, Some(source), remote)?;
        if let Some(other) = exit.filter(|exit| *exit != own) {
            return Ok(Some(message(source, remote, other)));
        }
    }
    Ok(None)
}

/// One address of each family stands for all.
fn questions(addresses: &[IpAddr]) -> Vec<(IpAddr, IpAddr)> {
    let is_global = |address: &&IpAddr| match address {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    let first = |v4: bool| {
        addresses
            .iter()
            .filter(is_global)
            .find(move |address| address.is_ipv4() == v4)
    };
    let v4 = first(true).into_iter();
    let v4 = v4.flat_map(|source| REMOTES_V4.map(|remote| (*source, IpAddr::from(remote))));
    let v6 = first(false).into_iter();
    let v6 = v6.flat_map(|source| REMOTES_V6.map(|remote| (*source, IpAddr::from(remote))));
    v4.chain(v6).collect()
}

fn message(source: IpAddr, remote: IpAddr, other: u32) -> String {
    let name = if_indextoname(other);
    let name = name.map_or_else(|_| other.to_string(), |name| name.to_string_lossy().into_owned());
    format!(
        "the pod answers from {source} by its interface `{name}`, for example to {remote}, where no program sees it; \
         give the pod a default route by the interface with its address"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_global_address_of_each_family_is_asked_about() {
        let addresses: Vec<IpAddr> = ["fe80::1", "169.254.0.1", "10.2.0.5", "10.2.0.6", "fd02::5"]
            .map(|address| address.parse().unwrap())
            .to_vec();
        let questions = questions(&addresses);
        assert_eq!(questions.len(), REMOTES_V4.len() + REMOTES_V6.len());
        assert!(questions.iter().all(|(source, remote)| {
            let known = [addresses[2], addresses[4]];
            known.contains(source) && source.is_ipv4() == remote.is_ipv4()
        }));
        assert!(super::questions(&addresses[..1]).is_empty());
    }

    #[test]
    fn loopback_is_another_exit_than_any_interface_of_a_pod() {
        let loopback = [IpAddr::from([127, 0, 0, 1])];
        assert_eq!(other_exit(1, &loopback).unwrap(), None);
    }
}
