//! Trials of a program with a set of flows.

use std::thread;

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;
use xdp_lab::{Namespace, bpf, wait_until};

use super::{CPU, Instruments, each_cpu};
use crate::{
    shared::{FLOWS, FRAME, FeederPlan, FeederProgress, ReceivedPackets},
    sys,
};

/// Number of a set of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameSet(pub u32);

/// One live trial.
#[derive(Clone, Copy, Debug)]
pub struct LiveTrial {
    /// Packets that the program processed.
    pub sent: u64,
    /// Nanoseconds from the first to the last packet.
    pub elapsed: u64,
    /// Counts of the receivers during the trial.
    pub received: ReceivedPackets,
}

impl LiveTrial {
    /// Returns the nanoseconds per packet sent.
    pub fn per_packet(&self) -> f64 {
        self.elapsed as f64 / (self.sent.max(2) - 1) as f64
    }

    /// Returns the nanoseconds per packet that arrived.
    pub fn per_delivered(&self) -> f64 {
        self.per_packet() * self.sent as f64 / self.received.packets as f64
    }

    /// Returns the number of packets that did not arrive.
    pub const fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received.packets)
    }
}

impl Instruments {
    /// Returns the nanoseconds per packet under `BPF_PROG_TEST_RUN`, feeder included.
    pub fn fed(&mut self, program: &ProgramFd, set: FrameSet, repeat: u32) -> Result<f64> {
        self.fed_many(program, set, 1, repeat)
    }

    /// Returns the nanoseconds per packet as [`fed`](Self::fed) does, with `sets` consecutive sets, a power
    /// of two.
    pub fn fed_many(&mut self, program: &ProgramFd, set: FrameSet, sets: u32, repeat: u32) -> Result<f64> {
        self.prepare_many(program, set, sets, u64::MAX)?;
        let feeder = self.program("feed")?;
        self.repeated(&feeder, &[0; FRAME], repeat)
            .context("the kernel refuses to run the feeder")
    }

    /// Returns the nanoseconds per packet of the program alone, with one packet.
    pub fn bare(&self, program: &ProgramFd, frame: &[u8], repeat: u32) -> Result<f64> {
        self.repeated(program, frame, repeat)
            .context("the kernel refuses to run the program")
    }

    fn repeated(&self, program: &ProgramFd, frame: &[u8], repeat: u32) -> Result<f64> {
        let ran = match &self.nic {
            Some((node, nic)) => node.run(|| {
                sys::pin_to(CPU)?;
                bpf::run_repeated(program, frame, repeat, *nic)
            })?,
            None => on_cpu(CPU, || bpf::run_repeated(program, frame, repeat, 0))?,
        };
        Ok(f64::from(ran?))
    }

    /// Injects packets as a driver of this interface would, and waits until all have arrived or no more
    /// arrive.
    pub fn live(
        &mut self,
        node: &Namespace,
        ifindex: u32,
        program: &ProgramFd,
        set: FrameSet,
        packets: u32,
    ) -> Result<LiveTrial> {
        self.prepare(program, set, u64::from(packets))?;
        let (feeder, before) = (self.program("feed")?, self.received()?);
        node.run(|| {
            sys::pin_to(CPU)?;
            bpf::run_live(&feeder, &[0; FRAME], packets, ifindex)
        })?
        .context("the kernel refuses live frames")?;
        let progress = self.progress()?;
        let progress = progress
            .iter()
            .find(|one| one.count > 0)
            .copied()
            .unwrap_or_default();
        ensure!(
            progress.last > progress.first,
            "the feeder saw {} of {packets} packets",
            progress.count
        );
        Ok(LiveTrial {
            sent: progress.count,
            elapsed: progress.last - progress.first,
            received: self.wait_received(&before, progress.count)?,
        })
    }

    /// Resets the feeder, with a new plan.
    pub fn prepare(&mut self, program: &ProgramFd, set: FrameSet, total: u64) -> Result<()> {
        self.prepare_many(program, set, 1, total)
    }

    fn prepare_many(&mut self, program: &ProgramFd, set: FrameSet, sets: u32, total: u64) -> Result<()> {
        let plan = FeederPlan {
            base: set.0 * FLOWS,
            mask: sets * FLOWS - 1,
            total,
        };
        self.plan.set(0, plan, 0)?;
        self.progress.set(0, each_cpu(FeederProgress::default())?, 0)?;
        self.under_test
            .set(0, program, 0)
            .context("the kernel refuses the program under test behind the feeder")
    }

    /// Returns the feeder's progress on each CPU.
    pub fn progress(&self) -> Result<Vec<FeederProgress>> {
        Ok(self.progress.get(&0, 0)?.to_vec())
    }

    /// Waits until receivers have counted all packets sent since `before`, or no more arrive. Returns the
    /// difference.
    pub(crate) fn wait_received(&self, before: &ReceivedPackets, sent: u64) -> Result<ReceivedPackets> {
        let mut last = self.since(before)?;
        // Receivers empty the rings within moments. A timeout is a valid result: the packets are lost.
        let mut same = 0;
        let _ = wait_until(
            "all packets have arrived",
            std::time::Duration::from_secs(1),
            || {
                let now = self.since(before).unwrap_or(last);
                same = if now.packets == last.packets { same + 1 } else { 0 };
                last = now;
                now.packets >= sent || same > 3
            },
        );
        Ok(last)
    }

    fn since(&self, before: &ReceivedPackets) -> Result<ReceivedPackets> {
        let now = self.received()?;
        Ok(ReceivedPackets {
            packets: now.packets - before.packets,
            expecting: now.expecting - before.expecting,
            right: now.right - before.right,
            wrong: now.wrong - before.wrong,
        })
    }
}

/// Runs work on a thread that is pinned to one CPU.
pub(crate) fn on_cpu<T: Send>(cpu: usize, work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    let pinned = || {
        sys::pin_to(cpu)?;
        Ok(work())
    };
    thread::scope(|scope| {
        scope
            .spawn(pinned)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
