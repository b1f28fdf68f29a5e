//! The sets with the addresses of the cluster itself, next to those of selected pods.

use crate::policy::SetId;

/// A set of addresses that policies mean without naming them. The operator writes it as `XdpPeerSet`s; agents
/// with a pod that a policy selects read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClusterSet {
    /// Networks with the addresses that pods have, or may have.
    Ranges,
    /// Addresses of nodes.
    Nodes,
    /// Addresses that more than one pod claims.
    Disputed,
}

impl ClusterSet {
    /// All sets.
    pub const ALL: [Self; 3] = [Self::Ranges, Self::Nodes, Self::Disputed];

    /// Returns the set for people. No selection of pods has such a text.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ranges => "ranges of the cluster",
            Self::Nodes => "addresses of nodes",
            Self::Disputed => "addresses that several pods claim",
        }
    }

    /// Returns what identifies the set.
    pub fn id(self) -> SetId {
        SetId::of_text(self.text())
    }
}
