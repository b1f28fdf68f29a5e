//! A program that is loaded over the tables in force, beside those that are attached, to be asked by test runs.

use std::collections::BTreeSet;

use aya::Ebpf;
use aya::programs::Xdp;
use xdp_core::tables::DEFAULT_FLOWS;

use super::error::OpenError;
use super::pinned::Pinned;
use super::programs;
use super::tables;
use super::test_run::TestRunError;

/// The program.
pub(super) struct Beside {
    ebpf: Ebpf,
    name: &'static str,
}

impl Beside {
    pub(super) fn open(pinned: &Pinned, name: &'static str) -> Result<Self, OpenError> {
        let pins = &pinned.pins;
        // Loading would make those that are missing.
        if tables::check_shapes(pins)? < tables::MAPS {
            return Err(OpenError::NotInstalled {
                path: pins.root().to_owned(),
            });
        }
        let mut ebpf = programs::object(pins, DEFAULT_FLOWS)?;
        programs::load::<Xdp>(&mut ebpf, &BTreeSet::new(), name, Xdp::load)?;
        Ok(Self { ebpf, name })
    }

    pub(super) fn program(&self) -> Result<&Xdp, TestRunError> {
        let program = self.ebpf.program(self.name);
        program
            .and_then(|program| program.try_into().ok())
            .ok_or(TestRunError::Missing)
    }
}
