//! Reads whether a pod's interface takes redirected packets, and switches on what that needs.
//!
//! The order is the kernel's (drivers/net/veth.c): GRO switched on while the pod's interface is down gives no
//! `NDO_XMIT`, not even once the interface comes up; only switching GRO off and on again does.

use nix::net::if_::if_nametoindex;
use xdp_client::error_chain;
use xdp_plan::{
    facts::{NotReady, Pair},
    hook::Interface,
    installed::{Gro, PodInterface},
    nics::NDO_XMIT,
};

use crate::node::{
    ethtool::{
        EthtoolError, {self},
    },
    exits::other_exit,
    netlink::genl,
    netns::{Namespaces, Netns},
};

/// What is in the way, and its message.
type Obstacle = (NotReady, String);

/// Reads a pod's interface, and returns its namespace if it can be entered. Holding it keeps the namespace
/// alive: drop it soon.
pub fn read(pair: &Pair, namespaces: &mut Namespaces) -> (PodInterface, Option<Netns>) {
    let own = pair.pod.ifindex;
    let inside = |name: &str| Ok((other_exit(own, &pair.addresses), ethtool::gro(name)));
    let read = find(pair.netns_id, namespaces)
        .and_then(|netns| Ok((in_pod(&netns, own, &pair.pod.name, inside)?, netns)));
    match read {
        Ok(((exit, on), netns)) => {
            let on = on.map_err(|error| (NotReady::GroRefused, error_chain(&error)));
            let interface = PodInterface {
                unreachable: None,
                // What cannot be known for certain is not relied upon.
                other_exit: exit.unwrap_or_else(|error| Some(error_chain(&error))),
                gro: on.and_then(|on| gro(pair.host.ifindex, on)),
            };
            (interface, Some(netns))
        }
        Err((_, message)) => {
            let interface = PodInterface {
                unreachable: Some(message),
                other_exit: None,
                gro: Ok(Gro::Off),
            };
            (interface, None)
        }
    }
}

fn gro(host: u32, on: bool) -> Result<Gro, Obstacle> {
    Ok(match on {
        false => Gro::Off,
        true if takes_redirects(host)? => Gro::On,
        true => Gro::Ineffective,
    })
}

/// Switches GRO of a pod's interface on, until the host's end takes redirected packets. Returns whether it
/// was off.
pub fn switch_gro_on(host: u32, pod: &Interface, namespaces: &mut Namespaces) -> Result<bool, Obstacle> {
    let netns = find(pod.netns_id.unwrap_or(-1), namespaces)?;
    let was_off = in_pod(&netns, pod.ifindex, &pod.name, set_on)?;
    if takes_redirects(host)? {
        return Ok(was_off);
    }
    in_pod(&netns, pod.ifindex, &pod.name, |name| {
        ethtool::set_gro(name, false)?;
        set_on(name)
    })?;
    if takes_redirects(host)? {
        Ok(was_off)
    } else {
        Err(no_ndo_xmit(host))
    }
}

fn find(netns_id: i32, namespaces: &mut Namespaces) -> Result<Netns, Obstacle> {
    let found = namespaces.find(netns_id);
    found.map_err(|error| (NotReady::NetnsUnreachable, error_chain(&error)))
}

/// Runs an ethtool step on the pod's interface, if it still is the one of the facts.
fn in_pod<T: Send>(
    netns: &Netns,
    ifindex: u32,
    name: &str,
    step: impl FnOnce(&str) -> Result<T, EthtoolError> + Send,
) -> Result<T, Obstacle> {
    let done = netns.run(|| (if_nametoindex(name).ok() == Some(ifindex)).then(|| step(name)));
    match done.map_err(|error| (NotReady::NetnsUnreachable, error_chain(&error)))? {
        Some(done) => done.map_err(|error| (NotReady::GroRefused, error_chain(&error))),
        None => Err((
            NotReady::NetnsUnreachable,
            format!("interface `{name}` of the pod was replaced meanwhile"),
        )),
    }
}

/// Returns whether GRO was off.
fn set_on(name: &str) -> Result<bool, EthtoolError> {
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
fn takes_redirects(host: u32) -> Result<bool, Obstacle> {
    let features = genl::xdp_features(host).map_err(|error| (NotReady::NoNdoXmit, error_chain(&error)))?;
    Ok(features.is_none_or(|features| features & NDO_XMIT != 0))
}

fn no_ndo_xmit(host: u32) -> Obstacle {
    let name = nix::net::if_::if_indextoname(host);
    let name = name.map_or_else(|_| host.to_string(), |name| name.to_string_lossy().into_owned());
    let message = format!(
        "GRO is on in the pod, but interface `{name}` does not show NDO_XMIT even after GRO was switched off and on; \
         see `xdp-features` of the netdev netlink family"
    );
    (NotReady::NoNdoXmit, message)
}
