//! A build of the product's program without flow tables.

use std::path::Path;

use anyhow::{Context as _, Result};
use aya::{
    EbpfLoader,
    programs::{ProgramFd, Xdp},
};
use xdp_core::tables::programs;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-ebpf-without-flows"));

/// Loads it over the product's maps, which are pinned in this directory.
pub(super) fn without_flows(maps: &Path) -> Result<ProgramFd> {
    let mut ebpf = EbpfLoader::new().default_map_pin_directory(maps).load(OBJECT)?;
    let program = ebpf.program_mut(programs::NIC).context("no XDP program")?;
    let program: &mut Xdp = program.try_into()?;
    program.load()?;
    Ok(program.fd()?.try_clone()?)
}
