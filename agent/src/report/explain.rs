//! `xdp-agent explain`: what becomes of a packet, by which rule, and why not by the rules before it.
//!
//! The verdict is the kernel's: the program that reads the tables in force is asked about a frame. Rules are not in the
//! tables any more once they are compiled, so those before the one that decided come from the running agent, or from the
//! files that it reads.

mod answer;
mod ask;
mod destination;
mod packet;
mod rules;
mod socket;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, path::PathBuf};

pub use answer::{DecidingRule, Explanation, RuleLimit};
pub(crate) use ask::ask;
pub use packet::{IpProtocol, ProbePacket};
pub(crate) use rules::ProgrammedRules;
pub use rules::{RuleMatch, rows};
pub(crate) use socket::serve;

use crate::datapath;

/// No answer.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The kernel could not be asked.
    #[error(transparent)]
    Kernel(#[from] datapath::ExplainerError),
    /// The tables could not be read.
    #[error(transparent)]
    Tables(#[from] datapath::OpenError),
    /// No such pod.
    #[error("no pod `{name}` has rules on this node{}", known_pods(known))]
    UnknownPod {
        /// As written.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// More than one.
    #[error("several pods are called `{name}`: name one as {}", pods.join(" or "))]
    AmbiguousPod {
        /// As written.
        name: String,
        /// With their namespaces.
        pods: Vec<String>,
    },
    /// The pod has no address to which the source could send.
    #[error("the pod {pod} has no {family} address; use a source of the other family with --from")]
    NoAddress {
        /// The pod.
        pod: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
    },
    /// IPv4 to IPv6.
    #[error("{from} and {to} are not of one family; give two IPv4 or two IPv6 addresses")]
    Families {
        /// Source.
        from: IpAddr,
        /// Destination.
        to: IpAddr,
    },
    /// A port is needed.
    #[error("{protocol} needs a destination port; name it with --port")]
    NoPort {
        /// Which.
        protocol: IpProtocol,
    },
    /// A port makes no sense.
    #[error("{protocol} has no ports; leave --port out")]
    HasNoPorts {
        /// Which.
        protocol: IpProtocol,
    },
    /// A type makes no sense.
    #[error("{protocol} over {family} has no types; leave --type out, or use {instead}")]
    HasNoTypes {
        /// Which.
        protocol: IpProtocol,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The protocol that has.
        instead: IpProtocol,
    },
    /// A file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Manifests {
        /// File or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn known_pods(known: &[String]) -> String {
    /// More than these are no help.
    const SHOWN: usize = 10;
    match known {
        [] => "; no policy in force selects a pod here".to_owned(),
        _ if known.len() <= SHOWN => format!("; these have: {}", known.join(", ")),
        _ => format!(
            "; {} have, among them {}",
            known.len(),
            known.get(..SHOWN).unwrap_or_default().join(", ")
        ),
    }
}
