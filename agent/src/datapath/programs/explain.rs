//! What the program on the NICs would make of a packet, asked of the kernel without a packet.
//!
//! A program beside it reads the same tables through the same code, and tells instead of acting. It is loaded for the
//! question, is never attached, and counts nothing.

use xdp_core::{explain::Explained, tables::programs::EXPLAIN};

use crate::datapath::{
    error::OpenError,
    kernel::sys::ProgramStats,
    pinned::Pinned,
    programs::{
        scratch::ScratchInstance,
        test_run::{TestRunError, refused, run},
    },
};

/// The kernel could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ExplainerError {
    /// The program could not be loaded over the tables.
    #[error(transparent)]
    Load(#[from] OpenError),
    /// It could not be run.
    #[error(transparent)]
    Run(#[from] TestRunError),
    /// It did not answer.
    #[error("the program `xdp_explain` gave no answer; this agent and the tables are of different versions")]
    Silent,
}

/// The program, over the tables in force.
pub struct Explainer(ScratchInstance);

impl Explainer {
    /// Loads it over tables that an agent has made.
    pub fn open(pinned: &Pinned) -> Result<Self, ExplainerError> {
        Ok(Self(ScratchInstance::open(pinned, EXPLAIN)?))
    }

    /// Asks about a frame.
    pub fn ask(&self, frame: &[u8]) -> Result<Explained, ExplainerError> {
        let ran = run(self.0.program()?, frame)?;
        Explained::read(&ran.packet).ok_or(ExplainerError::Silent)
    }

    /// What the verifier thinks of it.
    pub fn stats(&self) -> Result<ProgramStats, ExplainerError> {
        let info = self.0.program()?.info().map_err(refused)?;
        Ok(ProgramStats {
            name: EXPLAIN,
            verified_instructions: info.verified_instruction_count(),
        })
    }
}
