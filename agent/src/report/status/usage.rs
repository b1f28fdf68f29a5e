//! Computes the usage of the tables.

use xdp_core::{
    events::FlowEvent,
    tables::{INDEX, MAX_ADDRESSES, MAX_POD_BLOCKS, MAX_SLOTS},
};
use xdp_plan::compile::Limit;

use crate::{
    datapath::FlowTable,
    report::status::{FlowUsage, TableUsage, collect::KernelSnapshot},
};

/// Computes the usage of the flow tables. The kernel does not count evictions: evicted is what was added, was
/// not deleted, and is absent.
pub(super) fn flows(snapshot: &KernelSnapshot) -> Vec<FlowUsage> {
    let held = |table| snapshot.flows.get(&table).copied().unwrap_or_default();
    let count = |event: FlowEvent| {
        snapshot
            .events
            .get(&event.code())
            .map_or(0, |count| count.packets)
    };
    let tracked = [held(FlowTable::Established), held(FlowTable::Unreplied)];
    let added = count(FlowEvent::Opened) + count(FlowEvent::Restored);
    let deleted = count(FlowEvent::ReclaimedByStack) + count(FlowEvent::Deleted);
    let present = tracked.iter().map(|held| held.used).sum();
    let evicted_tracked = evicted(added, [deleted, tracked[0].removed, present]);
    let stack = held(FlowTable::Stack);
    let evicted_stack = evicted(count(FlowEvent::StackFlowNoted), [0, stack.removed, stack.used]);
    let usage = |(table, evicted): (FlowTable, u64)| FlowUsage {
        table: table.name(),
        used: held(table).used,
        capacity: held(table).capacity,
        evicted,
    };
    let tables = [
        (FlowTable::Established, evicted_tracked),
        (FlowTable::Unreplied, 0),
        (FlowTable::Stack, evicted_stack),
    ];
    tables.map(usage).to_vec()
}

/// Returns what is not accounted for. Counts are not read at one moment, so the difference can be negative;
/// then it is zero. Counts of migrated flows are negative, and wrap.
fn evicted(added: u64, others: [u64; 3]) -> u64 {
    let left = others.into_iter().fold(added, u64::wrapping_sub);
    if left > u64::MAX / 2 { 0 } else { left }
}

/// Computes the usage of the other tables. Policies can use only half of some tables, because the other half
/// is for replacements: their capacity is that half.
pub(super) fn tables(snapshot: &KernelSnapshot) -> Vec<TableUsage> {
    let installed = &snapshot.installed;
    let blocks = &installed.blocks;
    let usage = |table, used, capacity| TableUsage {
        table,
        used: used as u64,
        capacity: capacity as u64,
    };
    vec![
        usage("slots", installed.pods.len(), MAX_SLOTS as usize),
        usage("index", installed.index.len(), INDEX as usize),
        usage("addresses", installed.addresses.len(), MAX_ADDRESSES as usize),
        usage("rules", snapshot.rules, Limit::Rules.value()),
        usage("pod_blocks", blocks.pods.len(), MAX_POD_BLOCKS as usize / 2),
        usage("sources_v4", blocks.sources_v4.len(), Limit::SourcesV4.value()),
        usage("sources_v6", blocks.sources_v6.len(), Limit::SourcesV6.value()),
        usage("classes", blocks.classes.len(), Limit::Classes.value()),
        usage("port_blocks", blocks.ports.len(), Limit::PortBlocks.value()),
        usage("actions", blocks.actions.len(), Limit::Actions.value()),
    ]
}
