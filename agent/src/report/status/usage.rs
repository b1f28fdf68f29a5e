//! How full the tables are.

use xdp_core::{
    events::FlowEvent,
    tables::{INDEX, MAX_ADDRESSES, MAX_POD_BLOCKS, MAX_SLOTS},
};
use xdp_plan::{compile::Limit, installed::Installed};

use crate::{
    datapath::FlowTable,
    report::status::{FlowUsage, TableUsage, collect::KernelSnapshot},
};

/// The kernel does not tell what it evicts: it is what has come, was not taken out, and is not there.
pub(super) fn flows(snapshot: &KernelSnapshot) -> Vec<FlowUsage> {
    let held = |table| snapshot.flows.get(&table).copied().unwrap_or_default();
    let count = |event: FlowEvent| {
        snapshot
            .events
            .get(&event.code())
            .map_or(0, |count| count.packets)
    };
    let ours = [held(FlowTable::Established), held(FlowTable::Unreplied)];
    let came = count(FlowEvent::Opened) + count(FlowEvent::Restored);
    let went = count(FlowEvent::ReclaimedByStack) + count(FlowEvent::Deleted);
    let there = ours.iter().map(|held| held.used).sum();
    let of_ours = evicted(came, [went, ours[0].removed, there]);
    let theirs = held(FlowTable::Stack);
    let of_theirs = evicted(count(FlowEvent::StackFlowNoted), [0, theirs.removed, theirs.used]);
    let usage = |(table, evicted): (FlowTable, u64)| FlowUsage {
        table: table.name(),
        used: held(table).used,
        capacity: held(table).capacity,
        evicted,
    };
    let tables = [
        (FlowTable::Established, of_ours),
        (FlowTable::Unreplied, 0),
        (FlowTable::Stack, of_theirs),
    ];
    tables.map(usage).to_vec()
}

/// What is not accounted for. Counts that were read one after the other may not fit; those of what was carried over from
/// other tables count downwards, and wrap.
fn evicted(came: u64, others: [u64; 3]) -> u64 {
    let left = others.into_iter().fold(came, u64::wrapping_sub);
    if left > u64::MAX / 2 { 0 } else { left }
}

/// Where policies may use half of a table, because the other half is for what is to replace it, that half is the whole.
pub(super) fn tables(installed: &Installed) -> Vec<TableUsage> {
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
        usage("rules", installed.rules.len(), Limit::Rules.value()),
        usage("pod_blocks", blocks.pods.len(), MAX_POD_BLOCKS as usize / 2),
        usage("sources_v4", blocks.sources_v4.len(), Limit::SourcesV4.value()),
        usage("sources_v6", blocks.sources_v6.len(), Limit::SourcesV6.value()),
        usage("classes", blocks.classes.len(), Limit::Classes.value()),
        usage("port_blocks", blocks.ports.len(), Limit::PortBlocks.value()),
        usage("actions", blocks.actions.len(), Limit::Actions.value()),
    ]
}
