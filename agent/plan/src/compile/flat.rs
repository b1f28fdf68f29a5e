//! Joins the rules of a pod's policies in one list.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use xdp_core::tables::ActionRecord;

use super::{
    known::Known,
    record::record,
    sources::{
        Set, {self},
    },
};
use crate::{
    installed::RuleLabel,
    policy::{Block, PortMatch, PortSet, Protocol, RuleAction, Sources},
};

/// Rules in order. The first rule that matches decides.
pub(super) struct Flat {
    pub(super) rules: Vec<FlatRule>,
    /// Sources by the number in [`FlatRule::sources`]. Rules with equal sources share them.
    pub(super) sources: Vec<Set>,
}

/// One rule.
pub(super) struct FlatRule {
    pub(super) label: Arc<RuleLabel>,
    pub(super) record: ActionRecord,
    /// Whether the rule redirects only what is certainly allowed.
    pub(super) is_restricted: bool,
    pub(super) sources: u32,
    /// Columns and ports of the tables. `None`: any protocol and port.
    pub(super) ports: Option<Vec<Span>>,
}

/// First and last port, or type × 256 + code, of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) column: usize,
    pub(super) first: u16,
    pub(super) last: u16,
}

/// Columns of a class: protocols with ports.
pub(super) const COLUMNS: usize = 5;
pub(super) const TCP: usize = 0;
pub(super) const UDP: usize = 1;
pub(super) const ICMP: usize = 3;
pub(super) const ICMPV6: usize = 4;

/// "Fragmentation needed", in the column of ICMP.
pub(super) const PATH_MTU_V4: (u16, u16) = (3 << 8 | 4, 3 << 8 | 4);
/// "Packet too big", whatever its code, in the column of `ICMPv6`.
pub(super) const PATH_MTU_V6: (u16, u16) = (2 << 8, 2 << 8 | 0xff);

impl Flat {
    /// Joins the rules. `named` are the pod's named ports.
    pub(super) fn new(policies: &[&Arc<Known>], named: &BTreeMap<(String, Protocol), u16>) -> Self {
        let mut groups = Groups::default();
        let mut rules = Vec::new();
        for known in policies {
            for (rule, label) in known.policy.rules.iter().zip(known.labels.iter()) {
                let any = rule.ports.is_empty();
                let spans = || rule.ports.iter().filter_map(|port| span(port, named)).collect();
                rules.push(FlatRule {
                    label: Arc::clone(label),
                    record: record(&known.policy, rule),
                    is_restricted: known.policy.is_restricted() && rule.action == RuleAction::Redirect,
                    sources: groups.find(&rule.from),
                    ports: (!any).then(spans),
                });
            }
        }
        Self {
            rules,
            sources: groups.sets,
        }
    }
}

/// Converts ports to columns. A name that the pod does not have matches nothing.
fn span(port: &PortMatch, named: &BTreeMap<(String, Protocol), u16>) -> Option<Span> {
    let (first, last) = match &port.ports {
        PortSet::Any => (0, u16::MAX),
        PortSet::Range(range) => (*range.start(), *range.end()),
        PortSet::Named(name) => {
            let number = *named.get(&(name.clone(), port.protocol))?;
            (number, number)
        }
        PortSet::Icmp { kind, code } => {
            let [first, last] = code.map_or([0, 0xff], |code| [code, code]);
            (
                u16::from_be_bytes([*kind, first]),
                u16::from_be_bytes([*kind, last]),
            )
        }
    };
    Some(Span {
        column: column(port.protocol),
        first,
        last,
    })
}

const fn column(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 1,
        Protocol::Sctp => 2,
        Protocol::Icmp => ICMP,
        Protocol::Icmpv6 => ICMPV6,
    }
}

/// The sources so far. `None`: any.
#[derive(Default)]
struct Groups<'a> {
    sets: Vec<Set>,
    found: HashMap<Option<Vec<&'a Block>>, u32>,
}

impl<'a> Groups<'a> {
    fn find(&mut self, from: &'a Sources) -> u32 {
        let blocks = match from {
            Sources::Any => None,
            Sources::Listed(listed) => Some(sources::blocks(listed).collect()),
        };
        let Self { sets, found } = self;
        *found.entry(blocks).or_insert_with(|| {
            sets.push(Set::of(from));
            sets.len() as u32 - 1
        })
    }
}
