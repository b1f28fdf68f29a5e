//! Flow tables: which receive queues a frame goes to.

use std::collections::{BTreeMap, BTreeSet};

use crate::card::{
    layout::{
        create_flow_group_in, create_flow_table_in, flow_context, flow_table_context, modify_flow_table_in,
    },
    parse::OUTER,
};

/// Type of the flow tables for received frames (`FS_FT_NIC_RX`).
pub(crate) const RECEIVE: u8 = 0;
/// Bit of `match_criteria_enable` for the outer headers, the only ones that the model matches.
const OUTER_HEADERS: u64 = 1;

const DROP: u64 = 1 << 1;
const FORWARD: u64 = 1 << 2;
const COUNT: u64 = 1 << 3;
/// The actions that the model has. Bit 0 allows the frame.
const ACTIONS: u64 = 1 | DROP | FORWARD | COUNT;

/// A flow table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlowTable {
    pub(crate) kind: u8,
    /// Frames only go to tables of a higher level.
    pub(crate) level: u8,
    /// Table for frames that no entry matches. Without one, the card drops them.
    pub(crate) miss: Option<u32>,
    pub(crate) groups: BTreeMap<u32, FlowGroup>,
    /// Entries by index. The first that matches decides.
    pub(crate) entries: BTreeMap<u32, FlowEntry>,
}

/// A range of entries with the same mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlowGroup {
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// `None` matches every frame.
    mask: Option<[u8; OUTER]>,
}

/// An entry of a flow table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlowEntry {
    pub(crate) group: u32,
    pub(crate) action: u64,
    pub(crate) tag: u32,
    pub(crate) destinations: Vec<Destination>,
    pub(crate) counters: Vec<u32>,
    value: [u8; OUTER],
}

/// Where an entry sends frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    Table(u32),
    Tir(u32),
}

/// Frames and bytes that entries with a flow counter matched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FlowCounter {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

/// Result of a walk through the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    /// TIRs, each with the tag of the entry.
    pub(crate) destinations: Vec<(u32, u32)>,
    pub(crate) counters: Vec<u32>,
    /// Whether an entry dropped the frame, as opposed to no entry matching it.
    pub(crate) dropped: bool,
}

impl FlowTable {
    /// Parses the input of `CREATE_FLOW_TABLE`.
    pub(crate) fn parse(input: &[u8]) -> Self {
        let context = input
            .get(create_flow_table_in::FLOW_TABLE_CONTEXT.byte()..)
            .unwrap_or_default();
        Self {
            kind: create_flow_table_in::TABLE_TYPE.get(input) as u8,
            level: flow_table_context::LEVEL.get(context) as u8,
            miss: miss(context),
            groups: BTreeMap::new(),
            entries: BTreeMap::new(),
        }
    }

    /// Takes the miss table of the input of `MODIFY_FLOW_TABLE`.
    pub(crate) fn modify(&mut self, input: &[u8]) {
        self.miss = miss(
            input
                .get(modify_flow_table_in::FLOW_TABLE_CONTEXT.byte()..)
                .unwrap_or_default(),
        );
    }

    /// Whether a frame can go from this table to another.
    pub(crate) fn refers_to(&self, table: u32) -> bool {
        self.miss == Some(table) || self.has_destination(Destination::Table(table))
    }

    /// Whether an entry has a destination.
    pub(crate) fn has_destination(&self, destination: Destination) -> bool {
        self.entries
            .values()
            .any(|entry| entry.destinations.contains(&destination))
    }

    /// Returns the entry that a frame with these fields matches.
    fn find(&self, fields: &[u8; OUTER]) -> Option<&FlowEntry> {
        self.entries.values().find(|entry| {
            self.groups
                .get(&entry.group)
                .is_some_and(|group| group.matches(&entry.value, fields))
        })
    }
}

fn miss(context: &[u8]) -> Option<u32> {
    let forwards = flow_table_context::TABLE_MISS_ACTION.get(context) == 1;
    forwards.then(|| flow_table_context::TABLE_MISS_ID.get(context) as u32)
}

impl FlowGroup {
    /// Parses the input of `CREATE_FLOW_GROUP`. Returns an error for a mask that the model cannot match.
    pub(crate) fn parse(input: &[u8]) -> Result<Self, &'static str> {
        let enabled = create_flow_group_in::MATCH_CRITERIA_ENABLE.get(input);
        let criteria = input
            .get(create_flow_group_in::MATCH_CRITERIA.byte()..)
            .unwrap_or_default();
        if enabled & !OUTER_HEADERS != 0 {
            return Err("a flow group that matches more than outer headers");
        }
        Ok(Self {
            first: create_flow_group_in::START_FLOW_INDEX.get(input) as u32,
            last: create_flow_group_in::END_FLOW_INDEX.get(input) as u32,
            mask: (enabled != 0).then(|| section(criteria)),
        })
    }

    fn matches(&self, value: &[u8; OUTER], fields: &[u8; OUTER]) -> bool {
        let Some(mask) = &self.mask else { return true };
        mask.iter()
            .zip(value)
            .zip(fields)
            .all(|((mask, value), field)| mask & value == mask & field)
    }
}

impl FlowEntry {
    /// Parses a flow context (`mlx5_ifc_flow_context_bits`).
    ///
    /// Returns an error for what the model does not have.
    pub(crate) fn parse(context: &[u8]) -> Result<Self, &'static str> {
        let action = flow_context::ACTION.get(context);
        if action & !ACTIONS != 0 {
            return Err("a flow entry with an action that the model does not have");
        }
        let destinations = flow_context::DESTINATION_LIST_SIZE.get(context) as usize;
        let counters = flow_context::FLOW_COUNTER_LIST_SIZE.get(context) as usize;
        let list = |index: usize| -> Result<u32, &'static str> {
            let at = flow_context::DESTINATION.byte() + index * 8;
            let bytes = context
                .get(at..at + 4)
                .ok_or("a flow entry that ends before its lists")?;
            Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        Ok(Self {
            group: flow_context::GROUP_ID.get(context) as u32,
            action,
            tag: flow_context::FLOW_TAG.get(context) as u32,
            destinations: (0..destinations)
                .map(|index| Destination::parse(list(index)?))
                .collect::<Result<_, &'static str>>()?,
            counters: (destinations..destinations + counters)
                .map(list)
                .collect::<Result<_, _>>()?,
            value: section(
                context
                    .get(flow_context::MATCH_VALUE.byte()..)
                    .unwrap_or_default(),
            ),
        })
    }
}

impl Destination {
    fn parse(word: u32) -> Result<Self, &'static str> {
        let number = word & 0xff_ffff;
        match word >> 24 {
            1 => Ok(Self::Table(number)),
            2 => Ok(Self::Tir(number)),
            _ => Err("a flow entry with a destination that the model does not have"),
        }
    }
}

/// Returns the outer-header section of match criteria or of a match value.
fn section(bytes: &[u8]) -> [u8; OUTER] {
    std::array::from_fn(|index| bytes.get(index).copied().unwrap_or(0))
}

/// Walks from the table `root` to TIRs.
///
/// It goes to every table once at most, whatever the miss tables are.
pub(crate) fn walk(tables: &BTreeMap<u32, FlowTable>, root: Option<u32>, fields: &[u8; OUTER]) -> Walk {
    let mut walk = Walk::default();
    let mut pending: Vec<u32> = root.into_iter().collect();
    let mut visited = BTreeSet::new();
    while let Some(number) = pending.pop() {
        let Some(table) = tables.get(&number).filter(|_| visited.insert(number)) else {
            continue;
        };
        let Some(entry) = table.find(fields) else {
            pending.extend(table.miss);
            continue;
        };
        if entry.action & COUNT != 0 {
            walk.counters.extend(&entry.counters);
        }
        if entry.action & DROP != 0 {
            walk.dropped = true;
        }
        if entry.action & FORWARD == 0 {
            continue;
        }
        for destination in &entry.destinations {
            match destination {
                Destination::Table(number) => pending.push(*number),
                Destination::Tir(number) => walk.destinations.push((*number, entry.tag)),
            }
        }
    }
    walk
}

#[cfg(test)]
mod tests;
