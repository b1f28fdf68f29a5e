//! How full the tables are.

use xdp_core::tables::{INDEX, MAX_ADDRESSES, MAX_POD_BLOCKS, MAX_SLOTS};
use xdp_plan::compile::Limit;
use xdp_plan::installed::Installed;

use super::Usage;

/// Where policies may use half of a table, because the other half is for what is to replace it, that half is the whole.
pub(super) fn tables(installed: &Installed) -> Vec<Usage> {
    let blocks = &installed.blocks;
    let usage = |table, used, capacity| Usage {
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
