//! Runs programs with `BPF_PROG_TEST_RUN`, for `explain`, tests and benchmarks.

pub(in crate::datapath) mod scratch;

use std::time::Duration;

use aya::programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions, Xdp};
use xdp_core::tables::programs::NIC;
use xdp_plan::hook::Hook;

use crate::datapath::{
    Datapath, error::OpenError, kernel::sys::ProgramStats, pinned::Pinned,
    programs::test_run::scratch::ScratchInstance,
};

/// Space for the packet to grow, and for its metadata.
const SLACK: usize = 512;
/// `struct xdp_md`: six fields of four bytes, of which `data`, `data_end` and `data_meta` come first.
const CONTEXT: usize = 24;
/// Offset of `ingress_ifindex`.
const INGRESS: usize = 12;
/// The loopback interface, at which test runs take place unless another is named.
const LOOPBACK: u32 = 1;

/// `struct __sk_buff` and the offsets of its fields.
mod sk_buff {
    pub(super) const SIZE: usize = 192;
    pub(super) const MARK: usize = 8;
    pub(super) const INGRESS_IFINDEX: usize = 36;
    pub(super) const IFINDEX: usize = 40;
    pub(super) const CB: usize = 48;
}

/// The result of a run of the program on NICs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRunResult {
    /// The XDP action.
    pub action: u32,
    /// The metadata in front of the packet.
    pub metadata: Vec<u8>,
    /// The packet.
    pub packet: Vec<u8>,
}

/// A packet as classifiers receive it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestSkb<'f> {
    /// The frame, from the Ethernet header on.
    pub frame: &'f [u8],
    /// Index of the interface, in the calling thread's namespace.
    pub ifindex: u32,
    /// Index of the interface by which the packet came in; zero: the host sends it.
    pub came_from: u32,
    /// The packet's mark.
    pub mark: u32,
    /// The packet's control block, of which programs of the reply path use two words.
    pub control: [u32; 2],
}

/// The result of a run of a classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassifierRun {
    /// The verdict: -1 is `TCX_NEXT`, 7 `TCX_REDIRECT`.
    pub verdict: i32,
    /// The packet's mark.
    pub mark: u32,
    /// The packet's control block, as [`TestSkb::control`].
    pub control: [u32; 2],
}

/// The result of many runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatedRun {
    /// The XDP action of the last run.
    pub action: u32,
    /// Mean time of one run, as the kernel measured it.
    pub each: Duration,
}

/// The program could not be run.
#[derive(Debug, thiserror::Error)]
pub enum TestRunError {
    /// The kernel refused the run.
    #[error("the kernel refused the test run (packets from 14 bytes to one page are possible)")]
    Refused(#[source] Box<ProgramError>),
    /// The embedded object lacks the program.
    #[error("the embedded object lacks the program")]
    Missing,
}

impl Datapath {
    /// Runs the program on NICs on a frame, without a NIC. Redirects are decided but not executed; counters
    /// count.
    pub fn test_run(&self, frame: &[u8]) -> Result<TestRunResult, TestRunError> {
        self.test_run_at(frame, LOOPBACK)
    }

    /// Like [`Datapath::test_run`], as if the frame had arrived at a NIC of the calling thread's namespace.
    pub fn test_run_at(&self, frame: &[u8], nic: u32) -> Result<TestRunResult, TestRunError> {
        run(self.programs.xdp().ok_or(TestRunError::Missing)?, frame, nic)
    }

    /// Runs a program of the reply path on a packet at an interface. Redirects are decided but not executed.
    pub fn test_run_hook(&self, hook: Hook, skb: TestSkb<'_>) -> Result<ClassifierRun, TestRunError> {
        classify(self.programs.hook(hook).ok_or(TestRunError::Missing)?, skb)
    }

    /// Returns the verifier's statistics of all programs.
    pub fn program_stats(&self) -> Result<Vec<ProgramStats>, TestRunError> {
        self.programs.stats().map_err(refused)
    }
}

/// A scratch instance of the program on NICs, for tests that run it while the agent works.
pub struct Runner(ScratchInstance);

impl Runner {
    /// Loads the program.
    pub fn open(pinned: &Pinned) -> Result<Self, OpenError> {
        Ok(Self(ScratchInstance::open(pinned, NIC)?))
    }

    /// Runs the program many times on one frame. Changes of the frame persist between runs: use verdicts that
    /// change nothing.
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

/// Runs a program once, on a frame that arrives at an interface.
pub(in crate::datapath) fn run(
    program: &Xdp,
    frame: &[u8],
    ingress: u32,
) -> Result<TestRunResult, TestRunError> {
    let mut context_in = [0; CONTEXT];
    context_in[4..8].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
    context_in[INGRESS..INGRESS + 4].copy_from_slice(&ingress.to_ne_bytes());
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
    for (at, value) in [
        (sk_buff::MARK, skb.mark),
        (sk_buff::INGRESS_IFINDEX, skb.came_from),
        (sk_buff::IFINDEX, skb.ifindex),
        (sk_buff::CB, skb.control[0]),
        (sk_buff::CB + 4, skb.control[1]),
    ] {
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
    let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|byte| context_out[at + byte]));
    Ok(ClassifierRun {
        verdict: result.return_value as i32,
        mark: word(sk_buff::MARK),
        control: [word(sk_buff::CB), word(sk_buff::CB + 4)],
    })
}
