//! A pod's rules, compiled, before they meet the kernel's numbers.

use std::sync::Arc;

use xdp_core::tables::{ActionRecord, Class, Ports, SourceRef, SourcesV4, SourcesV6};

use crate::installed::RuleLabel;

/// Blocks like the kernel's that refer to each other by their positions here. Equal blocks are there once, and every
/// block stands behind those that it refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// Rules that decide about some packet. Action number `n` is the rule at `n - 1`.
    pub rules: Vec<Arc<RuleLabel>>,
    /// What these rules say; `rule` is zero.
    pub actions: Vec<ActionRecord>,
    /// Blocks whose values are action numbers.
    pub leaves: Vec<Ports>,
    /// Blocks whose values are positions in `leaves`.
    pub tops: Vec<Ports>,
    /// Blocks whose values are positions in `tops`.
    pub roots: Vec<Ports>,
    /// References to the above.
    pub classes: Vec<Class>,
    /// References to `classes` and to each other.
    pub sources_v4: Vec<SourcesV4>,
    /// References to `classes` and to each other.
    pub sources_v6: Vec<SourcesV6>,
    /// Where IPv4 sources are looked up.
    pub root_v4: SourceRef,
    /// Where IPv6 sources are looked up.
    pub root_v6: SourceRef,
}

impl Compiled {
    /// Bytes that all blocks take in the kernel.
    pub const fn bytes(&self) -> usize {
        size_of::<ActionRecord>() * self.actions.len()
            + size_of::<Ports>() * self.port_blocks()
            + size_of::<Class>() * self.classes.len()
            + size_of::<SourcesV4>() * self.sources_v4.len()
            + size_of::<SourcesV6>() * self.sources_v6.len()
    }

    /// Blocks of ports, on all levels.
    pub const fn port_blocks(&self) -> usize {
        self.leaves.len() + self.tops.len() + self.roots.len()
    }
}
