//! Rule changes under traffic: when the new rule first matches a packet, and whether neither rule matches
//! one.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use xdp_lab::bpf;

use crate::{
    instruments::{CPU, FrameSet, Instruments},
    shared::FrameBytes,
    stats::Samples,
    sys,
    testbed::Testbed,
};

/// Packets of one call of the injector.
const BURST: u32 = 100_000;
/// Marks are distinguished by twelve bits; the last value is not used.
const MARKS: u32 = 4095;
/// Time limit for a change, or for packets.
const PATIENCE: Duration = Duration::from_secs(20);

/// The pods that change, how often, and under how many packets.
pub(super) struct ChangePlan {
    /// Number of pods, one for each frame; each batch changes all of them.
    pub(super) pods: u32,
    /// How often.
    pub(super) batches: u32,
    /// Minimum of packets for each batch.
    pub(super) packets: u64,
}

/// Results of the changes.
pub(super) struct ChangeResult {
    /// Times from the rename of the manifest to the first packet with the new rule's mark, in milliseconds.
    pub(super) took: Samples,
    /// Packets that were sent.
    pub(super) sent: u64,
    /// Packets that arrived with the mark of a programmed rule.
    pub(super) known: u64,
    /// Packets with an old rule's mark after the first one with the new mark.
    pub(super) late: u64,
}

impl ChangePlan {
    /// Returns the mark of a pod's rule in a batch; batch 0 is the state before the first change.
    pub(super) const fn mark(&self, batch: u32, pod: u32) -> u32 {
        batch * self.pods + pod + 1
    }

    const fn marks(&self) -> u32 {
        self.mark(self.batches, self.pods - 1)
    }
}

/// Changes rules in batches while packets are injected. `change` gives a pod the rule with a mark. The rules
/// of batch 0 must be programmed, and the pods must have the `watch` program.
pub(super) fn run(
    testbed: &Testbed<'_>,
    instruments: &mut Instruments,
    frames: &[FrameBytes],
    plan: &ChangePlan,
    mut change: impl FnMut(u32, u32) -> Result<()>,
) -> Result<ChangeResult> {
    ensure!(plan.marks() < MARKS, "marks have twelve bits");
    let (mut took, mut late) = (Samples::default(), Vec::new());
    let sent = under_packets(testbed, instruments, frames, |instruments, packets| {
        for batch in 1..=plan.batches {
            packets.wait_for(u64::from(batch - 1) * plan.packets)?;
            let start = sys::now();
            for pod in 0..plan.pods {
                change(pod, plan.mark(batch, pod))?;
            }
            for pod in 0..plan.pods {
                let first = first_seen(instruments, plan.mark(batch, pod))?;
                took.0.push(first.saturating_sub(start) as f64 / 1e6);
                let old = plan.mark(batch - 1, pod);
                late.push((old, instruments.mark_seen(old)?.1));
            }
        }
        packets.wait_for(u64::from(plan.batches) * plan.packets)
    })?;
    let mut found = ChangeResult {
        took,
        sent,
        known: 0,
        late: 0,
    };
    for mark in 1..=plan.marks() {
        found.known += instruments.mark_seen(mark)?.1;
    }
    for (old, then) in late {
        found.late += instruments.mark_seen(old)?.1 - then;
    }
    Ok(found)
}

/// The number of packets so far.
pub(super) struct Packets(AtomicU64);

impl Packets {
    /// Returns the packets of complete bursts.
    pub(super) fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until there were this many packets.
    pub(super) fn wait_for(&self, packets: u64) -> Result<()> {
        let start = Instant::now();
        while self.so_far() < packets {
            ensure!(start.elapsed() < PATIENCE, "the injector makes no progress");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Injects these frames in turn while `work` runs. Returns the number of packets.
pub(super) fn under_packets(
    testbed: &Testbed<'_>,
    instruments: &mut Instruments,
    frames: &[FrameBytes],
    work: impl FnOnce(&Instruments, &Packets) -> Result<()>,
) -> Result<u64> {
    instruments.set_frames(FrameSet(0), frames)?;
    instruments.prepare(&testbed.product()?, FrameSet(0), u64::MAX)?;
    let (stop, packets) = (AtomicBool::new(false), Packets(AtomicU64::new(0)));
    let feeder = instruments.program("feed")?;
    let (node, nic) = (testbed.node.clone(), testbed.nic.ifindex);
    let inject = || -> Result<()> {
        node.run(|| {
            sys::pin_to(CPU)?;
            while !stop.load(Ordering::Relaxed) {
                bpf::run_live(&feeder, &[0; 64], BURST, nic)?;
                packets.0.fetch_add(u64::from(BURST), Ordering::Relaxed);
            }
            std::io::Result::Ok(())
        })?
        .context("the injector")
    };
    thread::scope(|scope| {
        let injector = scope.spawn(inject);
        let done = work(instruments, &packets);
        stop.store(true, Ordering::Relaxed);
        injector
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        done
    })?;
    // Receivers empty the rings within this time.
    thread::sleep(Duration::from_millis(20));
    Ok(packets.0.into_inner())
}

fn first_seen(instruments: &Instruments, mark: u32) -> Result<u64> {
    let start = Instant::now();
    loop {
        match instruments.mark_seen(mark)?.0 {
            0 => ensure!(start.elapsed() < PATIENCE, "no packet has the mark {mark}"),
            first => return Ok(first),
        }
        thread::sleep(Duration::from_micros(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rules_of_a_course_have_the_same_mark() {
        let plan = ChangePlan {
            pods: 3,
            batches: 2,
            packets: 0,
        };
        let marks: Vec<u32> = (0..=2)
            .flat_map(|batch| (0..3).map(move |pod| (batch, pod)))
            .map(|(batch, pod)| plan.mark(batch, pod))
            .collect();
        assert_eq!(marks, (1..=plan.marks()).collect::<Vec<_>>());
    }
}
