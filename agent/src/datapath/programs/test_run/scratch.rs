//! Scratch instances: programs that are loaded over the pinned tables for `BPF_PROG_TEST_RUN`, and never
//! attached.

use std::collections::BTreeSet;

use aya::{Ebpf, programs::Xdp};
use xdp_core::tables::DEFAULT_FLOWS;

use crate::datapath::{error::OpenError, pinned::Pinned, programs, programs::test_run::TestRunError, tables};

/// A loaded program that is not attached.
pub(in crate::datapath) struct ScratchInstance {
    ebpf: Ebpf,
    name: &'static str,
}

impl ScratchInstance {
    pub(in crate::datapath) fn open(pinned: &Pinned, name: &'static str) -> Result<Self, OpenError> {
        let pins = &pinned.pins;
        // Loading would create the maps that are absent.
        if tables::check_shapes(pins)? < tables::MAPS {
            return Err(OpenError::NotInstalled {
                path: pins.root().to_owned(),
            });
        }
        let mut ebpf = programs::object(pins, DEFAULT_FLOWS)?;
        programs::loaded::load::<Xdp>(&mut ebpf, &BTreeSet::new(), name, Xdp::load)?;
        Ok(Self { ebpf, name })
    }

    pub(in crate::datapath) fn program(&self) -> Result<&Xdp, TestRunError> {
        let program = self.ebpf.program(self.name);
        program
            .and_then(|program| program.try_into().ok())
            .ok_or(TestRunError::Missing)
    }
}
