//! Resolves the destination of `--to`.

use std::{collections::BTreeSet, net::IpAddr};

use xdp_plan::installed::PodLabel;

use crate::report::explain::ExplainError;

/// Returns the address itself, or the address of the source's family of the target pod with this name.
pub(super) fn resolve(to: &str, from: IpAddr, pods: &[PodLabel]) -> Result<IpAddr, ExplainError> {
    if let Ok(address) = to.parse() {
        return Ok(address);
    }
    let found: Vec<&PodLabel> = pods.iter().filter(|pod| is_called(pod, to)).collect();
    let names: BTreeSet<String> = found.iter().map(|pod| full_name(pod)).collect();
    match names.len() {
        0 => Err(unknown(to, pods)),
        1 => address(&found, from),
        _ => Err(ExplainError::AmbiguousPod {
            name: to.to_owned(),
            pods: names.into_iter().collect(),
        }),
    }
}

pub(super) fn full_name(pod: &PodLabel) -> String {
    format!("{}/{}", pod.identity.namespace, pod.identity.pod)
}

fn is_called(pod: &PodLabel, name: &str) -> bool {
    match name.split_once('/') {
        Some((namespace, name)) => pod.identity.namespace == namespace && pod.identity.pod == name,
        None => pod.identity.pod == name,
    }
}

fn unknown(name: &str, pods: &[PodLabel]) -> ExplainError {
    let known: BTreeSet<String> = pods.iter().map(full_name).collect();
    ExplainError::UnknownPod {
        name: name.to_owned(),
        known: known.into_iter().collect(),
    }
}

/// Selects an address. A pod can have several interfaces.
fn address(pods: &[&PodLabel], from: IpAddr) -> Result<IpAddr, ExplainError> {
    let v4 = from.to_canonical().is_ipv4();
    let mut addresses = pods.iter().flat_map(|pod| &pod.addresses);
    let found = addresses.find(|address| address.is_ipv4() == v4);
    found.copied().ok_or_else(|| ExplainError::NoAddress {
        pod: pods.first().map(|pod| full_name(pod)).unwrap_or_default(),
        family: if v4 { "IPv4" } else { "IPv6" },
    })
}
