//! Problems of pods and of their addresses.

use std::net::IpAddr;

use super::carrier::Witness;
use crate::{facts::Pair, pod::Pod, report::Problem};

pub(super) fn given_twice(object: String) -> Problem {
    Problem::new(
        object,
        "GivenTwice",
        "there is an earlier object of this kind, namespace and name; this one is left out",
        "remove or rename one of them",
    )
}

pub(super) fn no_address(pod: &Pod) -> Problem {
    Problem::new(
        pod.to_string(),
        "NoAddress",
        "a policy selects the pod, but `status.podIPs` and `status.podIP` are empty",
        "wait until the pod has an address; in a manifest, write it to `status.podIPs`",
    )
}

pub(super) fn claimed_twice(pod: &Pod, address: IpAddr, other: &Pod) -> Problem {
    Problem::new(
        pod.to_string(),
        "AddressClaimedTwice",
        format!("{other} has the same address {address}; no rule applies to packets for it"),
        "remove the pod that is gone, or correct the address",
    )
}

pub(super) fn no_interface(pod: &Pod, address: IpAddr) -> Problem {
    Problem::new(
        pod.to_string(),
        "NoInterface",
        format!("no interface behind a pair of this host carries the pod's address {address}"),
        "if the pod is starting, wait; otherwise check that it runs on this node and is connected by a veth pair",
    )
}

pub(super) fn in_doubt(address: IpAddr, pairs: &[&Pair]) -> String {
    format!(
        "the pod's address {address} is carried by the interface behind {}, and nothing tells which is the \
         pod's; remove the address from all others",
        names(pairs)
    )
}

pub(super) fn ambiguous(
    pod: &Pod,
    address: IpAddr,
    pairs: &[&Pair],
    (pair, witness): (&Pair, Witness),
) -> Problem {
    Problem::new(
        pod.to_string(),
        "AmbiguousAddress",
        format!(
            "the pod's address {address} is carried by the interface behind {}; it belongs to the one behind {}: {}",
            names(pairs),
            pair.host.name,
            witness.because()
        ),
        "remove the address from the others; a process in their namespaces may have added it",
    )
}

fn names(pairs: &[&Pair]) -> String {
    let names: Vec<&str> = pairs.iter().take(4).map(|pair| pair.host.name.as_str()).collect();
    let more = if pairs.len() > names.len() {
        " and others"
    } else {
        ""
    };
    format!("{}{more}", names.join(" and "))
}
