//! The compiled rules of a pod, without the kernel's numbers.

use std::sync::Arc;

use xdp_core::tables::{ActionRecord, Class, Ports, SourceRef, SourcesV4, SourcesV6};

use crate::installed::{RuleLabel, Shared};

/// Blocks like the kernel's that refer to each other by position. Equal blocks are stored once, and every
/// block comes after the blocks that it refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// Rules that can decide about a packet. Action number `n` is the rule at `n - 1`.
    pub rules: Vec<Arc<RuleLabel>>,
    /// Records of these rules, with `rule` and `namespace` zero.
    pub actions: Vec<ActionRecord>,
    /// What the rules share with those of other namespaces.
    pub(crate) shared: Shared,
    /// Nothing is redirected, because the intervals of what is certainly allowed exceed a limit.
    pub(crate) redirects_nothing: bool,
    /// Blocks whose values are action numbers.
    pub leaves: Vec<Ports>,
    /// Blocks whose values are positions in `leaves`.
    pub tops: Vec<Ports>,
    /// Blocks whose values are positions in `tops`.
    pub roots: Vec<Ports>,
    /// Classes. They refer to actions, leaves, tops and roots.
    pub classes: Vec<Class>,
    /// Blocks of IPv4 sources. They refer to `classes` and to each other.
    pub sources_v4: Vec<SourcesV4>,
    /// Blocks of IPv6 sources. They refer to `classes` and to each other.
    pub sources_v6: Vec<SourcesV6>,
    /// The root of the tree of IPv4 sources.
    pub root_v4: SourceRef,
    /// The root of the tree of IPv6 sources.
    pub root_v6: SourceRef,
}

impl Compiled {
    /// Returns the size of all blocks in the kernel, in bytes.
    pub const fn bytes(&self) -> usize {
        size_of::<ActionRecord>() * self.actions.len()
            + size_of::<Ports>() * self.port_blocks()
            + size_of::<Class>() * self.classes.len()
            + size_of::<SourcesV4>() * self.sources_v4.len()
            + size_of::<SourcesV6>() * self.sources_v6.len()
    }

    /// Returns the number of blocks of ports on all levels.
    pub const fn port_blocks(&self) -> usize {
        self.leaves.len() + self.tops.len() + self.roots.len()
    }
}
