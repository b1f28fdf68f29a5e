//! The programs under `BPF_PROG_TEST_RUN`, and what the verifier thinks of them: for `explain`, tests and benchmarks.

use std::time::Duration;

use aya::programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions, Xdp};
use xdp_core::tables::programs::NIC;
use xdp_plan::hook::Hook;

use crate::datapath::{
    Datapath, error::OpenError, kernel::sys::ProgramStats, pinned::Pinned, programs::scratch::ScratchInstance,
};

/// Room for the packet to grow, and for its metadata.
const SLACK: usize = 512;
/// `struct xdp_md`: six fields of four bytes, of which `data`, `data_end` and `data_meta` come first.
const CONTEXT: usize = 24;

/// `struct __sk_buff`, and where its fields are.
mod sk_buff {
    pub(super) const SIZE: usize = 192;
    pub(super) const MARK: usize = 8;
    pub(super) const IFINDEX: usize = 40;
}

/// What the NIC's program made of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRunResult {
    /// The XDP action.
    pub action: u32,
    /// The metadata in front of the packet.
    pub metadata: Vec<u8>,
    /// The packet.
    pub packet: Vec<u8>,
}

/// A packet as classifiers get it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestSkb<'f> {
    /// From the Ethernet header on.
    pub frame: &'f [u8],
    /// Number of the interface, in the calling thread's namespace.
    pub ifindex: u32,
    /// Its mark.
    pub mark: u32,
}

/// What a classifier made of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassifierRun {
    /// The verdict: -1 is `TCX_NEXT`, 7 `TCX_REDIRECT`.
    pub verdict: i32,
    /// The packet's mark.
    pub mark: u32,
}

/// What came of many runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatedRun {
    /// The XDP action of the last one.
    pub action: u32,
    /// Mean time of one, as the kernel measured it.
    pub each: Duration,
}

/// The program could not be run.
#[derive(Debug, thiserror::Error)]
pub enum TestRunError {
    /// The kernel refused the run.
    #[error("the kernel refused the test run (packets of 14 bytes to a page can be run)")]
    Refused(#[source] Box<ProgramError>),
    /// The embedded object lacks the program.
    #[error("the embedded object lacks the program")]
    Missing,
}

impl Datapath {
    /// Runs the NIC's program on a frame, without a NIC. Redirects are decided, not carried out; counters count.
    pub fn test_run(&self, frame: &[u8]) -> Result<TestRunResult, TestRunError> {
        run(self.programs.xdp().ok_or(TestRunError::Missing)?, frame)
    }

    /// Runs a program of the reply path on a packet that is at an interface. Redirects are decided, not carried out.
    pub fn test_run_hook(&self, hook: Hook, skb: TestSkb<'_>) -> Result<ClassifierRun, TestRunError> {
        classify(self.programs.hook(hook).ok_or(TestRunError::Missing)?, skb)
    }

    /// The verifier's numbers of all programs.
    pub fn program_stats(&self) -> Result<Vec<ProgramStats>, TestRunError> {
        self.programs.stats().map_err(refused)
    }
}

/// The NIC's program once more, over the same tables: for tests that run it while the agent works.
pub struct Runner(ScratchInstance);

impl Runner {
    /// Loads it.
    pub fn open(pinned: &Pinned) -> Result<Self, OpenError> {
        Ok(Self(ScratchInstance::open(pinned, NIC)?))
    }

    /// Runs it many times on one frame, which keeps what a run makes of it: for verdicts that change nothing.
    pub fn repeat(&self, frame: &[u8], times: u32) -> Result<RepeatedRun, TestRunError> {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat: times,
            ..TestRunOptions::default()
        };
        let result = self.0.program()?.test_run(options).map_err(refused)?;
        Ok(RepeatedRun {
            action: result.return_value,
            each: result.duration,
        })
    }
}

pub(in crate::datapath) fn refused(error: ProgramError) -> TestRunError {
    TestRunError::Refused(Box::new(error))
}

/// Runs a program once.
pub(in crate::datapath) fn run(program: &Xdp, frame: &[u8]) -> Result<TestRunResult, TestRunError> {
    let mut context_in = [0; CONTEXT];
    context_in[4..8].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
    let mut context_out = [0; CONTEXT];
    let mut out = vec![0; frame.len() + SLACK];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(&context_in),
        ctx_out: Some(&mut context_out),
        ..TestRunOptions::default()
    };
    let result = program.test_run(options).map_err(refused)?;
    out.truncate(result.data_size_out as usize);
    // Offsets from `data_meta`, where the output begins.
    let data = u32::from_ne_bytes([context_out[0], context_out[1], context_out[2], context_out[3]]);
    let packet = out.split_off((data as usize).min(out.len()));
    Ok(TestRunResult {
        action: result.return_value,
        metadata: out,
        packet,
    })
}

/// Runs a classifier once.
fn classify(program: &SchedClassifier, skb: TestSkb<'_>) -> Result<ClassifierRun, TestRunError> {
    let mut context_in = [0; sk_buff::SIZE];
    for (at, value) in [(sk_buff::MARK, skb.mark), (sk_buff::IFINDEX, skb.ifindex)] {
        context_in[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    let mut context_out = [0; sk_buff::SIZE];
    let options = TestRunOptions {
        data_in: Some(skb.frame),
        ctx_in: Some(&context_in),
        ctx_out: Some(&mut context_out),
        ..TestRunOptions::default()
    };
    let result = program.test_run(options).map_err(refused)?;
    let mark = [0, 1, 2, 3].map(|byte| context_out[sk_buff::MARK + byte]);
    Ok(ClassifierRun {
        verdict: result.return_value as i32,
        mark: u32::from_ne_bytes(mark),
    })
}
