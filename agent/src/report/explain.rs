//! `xdp-agent explain`: what happens to a packet, which rule decides, and why earlier rules do not match.
//!
//! The verdict is the kernel's: a program that reads the pinned tables decides about a frame. Compiled tables
//! do not hold the rules, so the earlier rules come from the running agent, or from manifest files.

mod answer;
mod ask;
mod destination;
mod frame;
mod packet;
mod protocol;
mod rules;
mod socket;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, path::PathBuf};

pub use answer::{DecidingRule, Explanation, RuleLimit};
pub(crate) use ask::ask;
pub use packet::ProbePacket;
pub use protocol::IpProtocol;
pub(crate) use rules::ProgrammedRules;
pub use rules::{RuleMatch, rows};
pub(crate) use socket::serve;

use crate::datapath;

/// A packet could not be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The kernel could not be queried.
    #[error(transparent)]
    Kernel(#[from] datapath::ExplainerError),
    /// The tables could not be read.
    #[error(transparent)]
    Tables(#[from] datapath::OpenError),
    /// There is no such pod.
    #[error("no pod `{name}` has rules on this node{}", known_pods(known))]
    UnknownPod {
        /// The name as given.
        name: String,
        /// The pods with rules on this node.
        known: Vec<String>,
    },
    /// Several pods have this name.
    #[error("several pods have the name `{name}`; use --to with {}", pods.join(" or "))]
    AmbiguousPod {
        /// The name as given.
        name: String,
        /// The pods, with their namespaces.
        pods: Vec<String>,
    },
    /// The pod has no address of the source's family.
    #[error("the pod {pod} has no {family} address; use --from with a source of the other family")]
    NoAddress {
        /// The pod.
        pod: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
    },
    /// The addresses are of different families.
    #[error("{from} and {to} are of different families; use two IPv4 or two IPv6 addresses")]
    Families {
        /// Source.
        from: IpAddr,
        /// Destination.
        to: IpAddr,
    },
    /// The destination port is missing.
    #[error("{protocol} needs a destination port; set it with --port")]
    NoPort {
        /// The protocol.
        protocol: IpProtocol,
    },
    /// The protocol has no ports.
    #[error("{protocol} has no ports; remove --port")]
    HasNoPorts {
        /// The protocol.
        protocol: IpProtocol,
    },
    /// The packet is IPv4.
    #[error("{to} is an IPv4 address, and only IPv6 has extension headers; remove --extension-headers")]
    NoExtensionHeaders {
        /// Destination.
        to: IpAddr,
    },
    /// The protocol has no message types.
    #[error("{protocol} over {family} has no message types; remove --type, or use {instead}")]
    HasNoTypes {
        /// The protocol.
        protocol: IpProtocol,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The protocol that has message types.
        instead: IpProtocol,
    },
    /// A manifest file or directory could not be read.
    #[error("cannot read `{}`", path.display())]
    Manifests {
        /// File or directory.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

fn known_pods(known: &[String]) -> String {
    /// The most names to list.
    const SHOWN: usize = 10;
    match known {
        [] => "; no programmed policy selects a pod here".to_owned(),
        _ if known.len() <= SHOWN => format!("; pods with rules: {}", known.join(", ")),
        _ => format!(
            "; {} pods have rules, among them {}",
            known.len(),
            known.get(..SHOWN).unwrap_or_default().join(", ")
        ),
    }
}
