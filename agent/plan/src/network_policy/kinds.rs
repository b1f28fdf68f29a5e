//! The kinds of policies that are read, and those that the administrator has the agent ignore.

use std::str::FromStr;

use thiserror::Error;
use xdp_crds::network_policy::{
    ADMIN_NETWORK_POLICY, BASELINE_ADMIN_NETWORK_POLICY, CLUSTER_NETWORK_POLICY, NETWORK_POLICY, PolicyKind,
};

use super::FOREIGN_KINDS;

/// A kind whose policies are not read: they restrict nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IgnoredKind(pub PolicyKind);

/// Not a kind that is read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not a kind of policies that is read; the kinds are {}", known())]
pub struct UnknownPolicyKind {
    text: String,
}

impl FromStr for IgnoredKind {
    type Err = UnknownPolicyKind;

    fn from_str(text: &str) -> Result<Self, UnknownPolicyKind> {
        let kind = all_kinds().find(|kind| kind.to_string() == text);
        let unknown = || UnknownPolicyKind {
            text: text.to_owned(),
        };
        kind.map(Self).ok_or_else(unknown)
    }
}

/// Returns all kinds of policies that are read where they are served.
pub fn all_kinds() -> impl Iterator<Item = PolicyKind> {
    let of_kubernetes = [
        NETWORK_POLICY,
        CLUSTER_NETWORK_POLICY,
        ADMIN_NETWORK_POLICY,
        BASELINE_ADMIN_NETWORK_POLICY,
    ];
    of_kubernetes
        .into_iter()
        .chain(FOREIGN_KINDS.iter().map(|foreign| foreign.kind))
}

fn known() -> String {
    let names: Vec<String> = all_kinds().map(|kind| format!("`{kind}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_named_as_it_is_written_and_an_unknown_one_is_refused_with_the_known_ones() {
        let calico: IgnoredKind = "GlobalNetworkPolicy.crd.projectcalico.org".parse().unwrap();
        assert_eq!(calico.0.group, "crd.projectcalico.org");
        assert_eq!("NetworkPolicy".parse(), Ok(IgnoredKind(NETWORK_POLICY)));
        let error = "GlobalNetworkPolicy"
            .parse::<IgnoredKind>()
            .unwrap_err()
            .to_string();
        assert!(error.contains("`GlobalNetworkPolicy` is not a kind"), "{error}");
        assert!(error.contains("`CiliumNetworkPolicy.cilium.io`"), "{error}");
    }

    #[test]
    fn all_kinds_have_different_names() {
        let mut names: Vec<String> = all_kinds().map(|kind| kind.to_string()).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
