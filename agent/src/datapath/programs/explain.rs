//! Asks the kernel how the program on the NICs would decide about a packet, without sending one.
//!
//! A companion program reads the same tables through the same code, and reports the decision instead of
//! acting on it. It is loaded for the query, is never attached, and counts nothing.

use xdp_core::{explain::Explained, tables::programs::EXPLAIN};

use crate::datapath::{
    error::OpenError,
    kernel::sys::ProgramStats,
    pinned::Pinned,
    programs::test_run::{TestRunError, refused, run, scratch::ScratchInstance},
};

/// The kernel could not be queried.
#[derive(Debug, thiserror::Error)]
pub enum ExplainerError {
    /// The program could not be loaded over the tables.
    #[error(transparent)]
    Load(#[from] OpenError),
    /// The program could not be run.
    #[error(transparent)]
    Run(#[from] TestRunError),
    /// The program returned no decision.
    #[error(
        "the program `xdp_explain` returned no decision; the versions of this agent and of the tables differ"
    )]
    Silent,
}

/// The companion program, loaded over the pinned tables.
pub struct Explainer(ScratchInstance);

impl Explainer {
    /// Loads the program over tables that an agent has created.
    pub fn open(pinned: &Pinned) -> Result<Self, ExplainerError> {
        Ok(Self(ScratchInstance::open(pinned, EXPLAIN)?))
    }

    /// Returns the decision about a frame that arrives at a NIC of the calling thread's namespace.
    pub fn ask(&self, frame: &[u8], nic: u32) -> Result<Explained, ExplainerError> {
        let ran = run(self.0.program()?, frame, nic)?;
        Explained::read(&ran.packet).ok_or(ExplainerError::Silent)
    }

    /// Returns the verifier's statistics of the program.
    pub fn stats(&self) -> Result<ProgramStats, ExplainerError> {
        let info = self.0.program()?.info().map_err(refused)?;
        Ok(ProgramStats {
            name: EXPLAIN,
            verified_instructions: info.verified_instruction_count(),
        })
    }
}
