//! A build of the product's program without flow tables.

use std::path::Path;

use anyhow::{Context as _, Result};
use aya::{
    EbpfLoader,
    programs::{ProgramFd, Xdp},
};
use xdp_core::tables::programs;

use crate::{instruments::Instruments, testbed::Testbed};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-ebpf-without-flows"));

/// What is compared: a program that drops all, which is the floor, the one without flow tables, and the
/// product twice.
pub(super) fn contestants(
    instruments: &Instruments,
    testbed: &Testbed<'_>,
    maps: &Path,
) -> Result<[ProgramFd; 4]> {
    Ok([
        instruments.program("drop_all")?,
        without_flows(maps)?,
        testbed.product()?,
        testbed.product()?,
    ])
}

/// Loads it over the product's maps, which are pinned in this directory.
fn without_flows(maps: &Path) -> Result<ProgramFd> {
    let mut ebpf = EbpfLoader::new().default_map_pin_directory(maps).load(OBJECT)?;
    let program = ebpf.program_mut(programs::NIC).context("no XDP program")?;
    let program: &mut Xdp = program.try_into()?;
    program.load()?;
    Ok(program.fd()?.try_clone()?)
}
