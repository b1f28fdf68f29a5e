//! The limits, and the problems of policies over a limit. A policy over a limit is refused; the others are
//! programmed.

use xdp_core::tables::{
    PORT_LEVELS, PORTS, SOURCE_LEVELS, SOURCES, {self},
};

use super::shares::Allotment;
use crate::{policy::Policy, report::Problem};

/// A limit of the compiled rules.
///
/// A limit per node is half of the array's elements; the other half is for the blocks that replace them. Pods
/// with the same policies count once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Rules on a node.
    Rules,
    /// Rules on a node that can decide about a packet.
    Actions,
    /// Blocks of IPv4 sources on a node.
    SourcesV4,
    /// Blocks of IPv6 sources on a node.
    SourcesV6,
    /// Classes on a node.
    Classes,
    /// Blocks of ports on a node.
    PortBlocks,
    /// Intervals of sources of one family, for one pod.
    Sources,
    /// Intervals of ports for one class and protocol.
    PortIntervals,
    /// Steps to compile a pod's sources.
    Overlaps,
    /// Steps to compile a pod's ports.
    PortSteps,
}

/// An exceeded limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Excess {
    pub(super) limit: Limit,
    pub(super) found: usize,
}

impl Limit {
    /// All limits.
    pub const ALL: [Self; 10] = [
        Self::Rules,
        Self::Actions,
        Self::SourcesV4,
        Self::SourcesV6,
        Self::Classes,
        Self::PortBlocks,
        Self::Sources,
        Self::PortIntervals,
        Self::Overlaps,
        Self::PortSteps,
    ];

    /// Returns the name, which is the reason of a problem.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rules => "MAX_RULES",
            Self::Actions => "MAX_ACTIONS",
            Self::SourcesV4 => "MAX_SOURCES_V4",
            Self::SourcesV6 => "MAX_SOURCES_V6",
            Self::Classes => "MAX_CLASSES",
            Self::PortBlocks => "MAX_PORT_BLOCKS",
            Self::Sources => "MAX_SOURCES",
            Self::PortIntervals => "MAX_PORT_INTERVALS",
            Self::Overlaps => "MAX_OVERLAPS",
            Self::PortSteps => "MAX_PORT_STEPS",
        }
    }

    /// Returns the largest allowed number.
    pub const fn value(self) -> usize {
        match self {
            Self::Rules => tables::MAX_RULES as usize,
            Self::Actions => (tables::MAX_ACTIONS as usize - 1) / 2,
            Self::SourcesV4 => tables::MAX_SOURCES_V4 as usize / 2,
            Self::SourcesV6 => tables::MAX_SOURCES_V6 as usize / 2,
            Self::Classes => tables::MAX_CLASSES as usize / 2,
            Self::PortBlocks => tables::MAX_PORT_BLOCKS as usize / 2,
            Self::Sources => SOURCES.pow(SOURCE_LEVELS as u32),
            Self::PortIntervals => 1 << 10,
            Self::Overlaps => 1 << 22,
            Self::PortSteps => 1 << 26,
        }
    }

    /// Returns what the limit counts.
    pub const fn counts(self) -> &'static str {
        match self {
            Self::Rules => "rules per node",
            Self::Actions => "rules per node that decide about some packet",
            Self::SourcesV4 => {
                "blocks of IPv4 sources per node, each for up to 64 intervals between bounds of networks"
            }
            Self::SourcesV6 => {
                "blocks of IPv6 sources per node, each for up to 64 intervals between bounds of networks"
            }
            Self::Classes => "classes per node: sets of sources that different rules of a pod apply to",
            Self::PortBlocks => {
                "blocks of ports per node, each for up to 16 intervals between bounds of port ranges"
            }
            Self::Sources => {
                "intervals per pod and family: between the bounds of all networks and exceptions"
            }
            Self::PortIntervals => {
                "intervals per protocol: between the bounds of all port ranges for one source"
            }
            Self::Overlaps => {
                "rules and networks per pod, counted once for every interval of sources they apply to"
            }
            Self::PortSteps => {
                "intervals of ports per pod, counted once for every set of sources that different rules apply to"
            }
        }
    }

    /// Returns the remedy.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Rules | Self::Actions => "use fewer rules, or select pods on fewer nodes",
            Self::SourcesV4 | Self::SourcesV6 | Self::Sources => {
                "use fewer and larger networks, or select pods on fewer nodes"
            }
            Self::Classes | Self::Overlaps => {
                "let rules share their sources: fewer different networks that overlap, or fewer rules per pod"
            }
            Self::PortBlocks | Self::PortIntervals | Self::PortSteps => {
                "use fewer and larger port ranges, or the same ones in several rules"
            }
        }
    }

    /// Checks a number against the limit.
    pub(super) const fn check(self, found: usize) -> Result<(), Excess> {
        if found > self.value() {
            return Err(Excess { limit: self, found });
        }
        Ok(())
    }
}

impl Excess {
    /// Converts to a problem of `policy`. `pod`: the first pod over the limit, for a limit per pod.
    pub(super) fn problem(self, policy: &Policy, pod: Option<&str>) -> Problem {
        let Self { limit, found } = self;
        let whose = pod.map_or_else(|| "the node".to_owned(), str::to_owned);
        Problem::new(
            policy.to_string(),
            limit.name(),
            format!(
                "the limit {} is {} {}: with this policy {whose} would have at least {found}; policies in \
                 force count first, then the older ones, and this one is refused whole on this node",
                limit.name(),
                limit.value(),
                limit.counts(),
            ),
            limit.remedy(),
        )
    }
}

impl Excess {
    /// Converts to a problem of `policy`, which exceeds the share of its namespace.
    pub(super) fn of_share(self, policy: &Policy, (namespace, share): (&str, Allotment)) -> Problem {
        let Self { limit, found } = self;
        let Allotment { sure, allowed } = share;
        Problem::new(
            policy.to_string(),
            limit.name(),
            format!(
                "the limit {} is {} {}, shared out by namespace: `{namespace}` has {sure} for sure, may use {allowed} now, and \
                 would use {found} with this policy; programmed policies count first, then the older ones, and this one is \
                 refused whole on this node",
                limit.name(),
                limit.value(),
                limit.counts(),
            ),
            format!("{}, or ask the administrator for a larger share", limit.remedy()),
        )
    }
}

const _: () = assert!(Limit::PortIntervals.value() <= PORTS.pow(PORT_LEVELS as u32));
