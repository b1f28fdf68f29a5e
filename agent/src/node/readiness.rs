//! Making a pod able to take redirected packets, step by step, each read back from the kernel.
//!
//! The order is the kernel's (drivers/net/veth.c): GRO switched on while the pod's interface is down gives no
//! `NDO_XMIT`, not even once the interface comes up; only switching GRO off and on again does.

use nix::net::if_::if_nametoindex;
use xdp_client::error_chain;
use xdp_plan::facts::{Link, NotReady, Pair, Readiness};

use crate::node::{
    ethtool::{
        EthtoolError, {self},
    },
    netlink::genl::{
        NDO_XMIT, {self},
    },
    netns::{Namespaces, Netns},
};

/// How far a pod got.
#[derive(Debug)]
pub struct Prepared {
    /// `Ready` means everything but the reader.
    pub readiness: Readiness,
    /// GRO was off and was switched on.
    pub gro_was_off: bool,
    /// The pod's namespace, if it was entered, for attaching the reader. Keeps the namespace alive: drop it soon.
    pub netns: Option<Netns>,
}

/// What stopped it, and the words for it.
type Obstacle = (NotReady, String);

/// Do what is missing, in order; do nothing where nothing is.
pub fn prepare(pair: &Pair, namespaces: &mut Namespaces) -> Prepared {
    let mut prepared = Prepared {
        readiness: Readiness::Ready,
        gro_was_off: false,
        netns: None,
    };
    if let Err((reason, message)) = steps(pair, namespaces, &mut prepared) {
        prepared.readiness = Readiness::NotReady { reason, message };
    }
    prepared
}

/// The same for delivery behind the NIC's stack entry, which needs nothing to be switched on.
pub fn prepare_peer(pair: &Pair, namespaces: &mut Namespaces) -> Prepared {
    let found = check_kind(&pair.host, &PEER_KINDS)
        .and_then(|()| check_up(pair))
        .and_then(|()| find(pair, namespaces));
    let (readiness, netns) = match found {
        Ok(netns) => (Readiness::Ready, Some(netns)),
        Err((reason, message)) => (Readiness::NotReady { reason, message }, None),
    };
    Prepared {
        readiness,
        gro_was_off: false,
        netns,
    }
}

/// Pairs with `ndo_xdp_xmit`.
const REDIRECT_KINDS: [&str; 1] = ["veth"];
/// Pairs with `ndo_get_peer_dev`, which `bpf_redirect_peer` asks for; netkit since Linux 6.7.
const PEER_KINDS: [&str; 2] = ["veth", "netkit"];

fn steps(pair: &Pair, namespaces: &mut Namespaces, prepared: &mut Prepared) -> Result<(), Obstacle> {
    check_kind(&pair.host, &REDIRECT_KINDS)?;
    check_up(pair)?;
    let netns = prepared.netns.insert(find(pair, namespaces)?);
    prepared.gro_was_off = in_pod(netns, &pair.pod, switch_gro_on)?;
    if takes_redirects(&pair.host)? {
        return Ok(());
    }
    in_pod(netns, &pair.pod, |name| {
        ethtool::set_gro(name, false)?;
        switch_gro_on(name)
    })?;
    if takes_redirects(&pair.host)? {
        Ok(())
    } else {
        Err(no_ndo_xmit(&pair.host))
    }
}

fn find(pair: &Pair, namespaces: &mut Namespaces) -> Result<Netns, Obstacle> {
    let found = namespaces.find(pair.netns_id);
    found.map_err(|error| (NotReady::NetnsUnreachable, error_chain(&error)))
}

fn check_kind(host: &Link, kinds: &[&str]) -> Result<(), Obstacle> {
    if kinds.contains(&host.kind.as_str()) {
        return Ok(());
    }
    let message = format!(
        "interface `{}` is of kind `{}`, which takes no packets this way: only {} does",
        host.name,
        host.kind,
        kinds.join(" or ")
    );
    Err((NotReady::NotVeth, message))
}

fn check_up(pair: &Pair) -> Result<(), Obstacle> {
    for (end, place) in [(&pair.pod, "in the pod"), (&pair.host, "on the host")] {
        if !end.up {
            let message = format!("interface `{}` {place} is down; set it up", end.name);
            return Err((NotReady::LinkDown, message));
        }
    }
    Ok(())
}

/// Run an ethtool step on the pod's interface, if it still is the one the facts speak of.
fn in_pod<T: Send>(
    netns: &Netns,
    pod: &Link,
    step: impl FnOnce(&str) -> Result<T, EthtoolError> + Send,
) -> Result<T, Obstacle> {
    let name = pod.name.as_str();
    let done = netns.run(|| (if_nametoindex(name).ok() == Some(pod.ifindex)).then(|| step(name)));
    match done.map_err(|error| (NotReady::NetnsUnreachable, error_chain(&error)))? {
        Some(done) => done.map_err(|error| (NotReady::GroRefused, error_chain(&error))),
        None => Err((
            NotReady::NetnsUnreachable,
            format!("interface `{name}` of the pod was replaced meanwhile"),
        )),
    }
}

/// Whether it was off.
fn switch_gro_on(name: &str) -> Result<bool, EthtoolError> {
    if ethtool::gro(name)? {
        return Ok(false);
    }
    ethtool::set_gro(name, true)?;
    if ethtool::gro(name)? {
        Ok(true)
    } else {
        Err(EthtoolError::Ignored {
            request: "ETHTOOL_SGRO",
            name: name.to_owned(),
        })
    }
}

/// Kernels before 6.3 have no flag; there GRO being on, which was read back, is all the evidence there is.
fn takes_redirects(host: &Link) -> Result<bool, Obstacle> {
    let features =
        genl::xdp_features(host.ifindex).map_err(|error| (NotReady::NoNdoXmit, error_chain(&error)))?;
    Ok(features.is_none_or(|features| features & NDO_XMIT != 0))
}

fn no_ndo_xmit(host: &Link) -> Obstacle {
    let message = format!(
        "GRO is on in the pod, but interface `{}` does not show NDO_XMIT even after GRO was switched off and on; \
         see `xdp-features` of the netdev netlink family",
        host.name
    );
    (NotReady::NoNdoXmit, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Pair {
        let end = |name: &str| Link {
            ifindex: u32::MAX,
            name: name.to_owned(),
            kind: "veth".to_owned(),
            up: true,
            mtu: 1500,
            mac: [2; 6],
        };
        Pair {
            host: end("host"),
            pod: end("eth0"),
            netns_id: i32::MAX,
            addresses: Vec::new(),
        }
    }

    fn reason(pair: &Pair) -> Option<NotReady> {
        match prepare(pair, &mut Namespaces::default()).readiness {
            Readiness::Ready => None,
            Readiness::NotReady { reason, .. } => Some(reason),
        }
    }

    #[test]
    fn netkit_is_refused_before_anything_is_touched() {
        let mut pair = pair();
        pair.host.kind = "netkit".to_owned();
        pair.pod.up = false;
        assert_eq!(reason(&pair), Some(NotReady::NotVeth));
    }

    #[test]
    fn netkit_takes_packets_behind_the_stacks_entry_as_far_as_its_kind_goes() {
        let mut pair = pair();
        pair.host.kind = "netkit".to_owned();
        let readiness = prepare_peer(&pair, &mut Namespaces::default()).readiness;
        assert_eq!(readiness.obstacle(), Some(NotReady::NetnsUnreachable));
        pair.host.kind = "macvlan".to_owned();
        let readiness = prepare_peer(&pair, &mut Namespaces::default()).readiness;
        assert_eq!(readiness.obstacle(), Some(NotReady::NotVeth));
    }

    #[test]
    fn either_end_being_down_is_named() {
        let (mut pod_down, mut host_down) = (pair(), pair());
        pod_down.pod.up = false;
        host_down.host.up = false;
        assert_eq!(reason(&pod_down), Some(NotReady::LinkDown));
        assert_eq!(reason(&host_down), Some(NotReady::LinkDown));
    }

    #[test]
    fn a_namespace_nobody_knows_is_unreachable() {
        assert_eq!(reason(&pair()), Some(NotReady::NetnsUnreachable));
    }
}
