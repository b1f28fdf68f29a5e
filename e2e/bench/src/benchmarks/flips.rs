//! Rules that change while packets come: when the first packet meets the new rule, and whether any meets neither.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use xdp_lab::bpf::{self};

use crate::{
    instruments::{CPU, FrameSet, Instruments},
    shared::FrameBytes,
    stats::Samples,
    sys,
    testbed::Testbed,
};

/// Packets of one call of the injector.
const BURST: u32 = 100_000;
/// Marks are told apart by so many bits; the last one is nobody's.
const MARKS: u32 = 4095;
/// Nobody waits that long for a change, or for packets.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who changes, how often, and under how many packets.
pub(super) struct Course {
    /// As many pods as there are frames, all of them changed in every batch.
    pub(super) pods: u32,
    /// How often.
    pub(super) batches: u32,
    /// At least so many packets for each batch.
    pub(super) packets: u64,
}

/// What came out.
pub(super) struct Flips {
    /// From the manifest's new name to the first packet by the new rule, in milliseconds.
    pub(super) took: Samples,
    /// Packets that were sent.
    pub(super) sent: u64,
    /// Those that arrived with the mark of a rule that was there.
    pub(super) known: u64,
    /// Those that met an old rule after one of them had met the new one.
    pub(super) late: u64,
}

impl Course {
    /// The mark of a pod's rule in a batch; before the first one, it is batch 0.
    pub(super) const fn mark(&self, batch: u32, pod: u32) -> u32 {
        batch * self.pods + pod + 1
    }

    const fn marks(&self) -> u32 {
        self.mark(self.batches, self.pods - 1)
    }
}

/// So many batches, the injector running all the time. `change` gives a pod the rule with a mark; the marks of batch 0
/// are in force already, and pods have the `watch` program.
pub(super) fn run(
    testbed: &Testbed<'_>,
    instruments: &mut Instruments,
    frames: &[FrameBytes],
    course: &Course,
    mut change: impl FnMut(u32, u32) -> Result<()>,
) -> Result<Flips> {
    ensure!(course.marks() < MARKS, "marks are told apart by twelve bits");
    let (mut took, mut late) = (Samples::default(), Vec::new());
    let sent = under_packets(testbed, instruments, frames, |instruments, packets| {
        for batch in 1..=course.batches {
            packets.wait_for(u64::from(batch - 1) * course.packets)?;
            let start = sys::now();
            for pod in 0..course.pods {
                change(pod, course.mark(batch, pod))?;
            }
            for pod in 0..course.pods {
                let first = first_seen(instruments, course.mark(batch, pod))?;
                took.0.push(first.saturating_sub(start) as f64 / 1e6);
                let old = course.mark(batch - 1, pod);
                late.push((old, instruments.mark_seen(old)?.1));
            }
        }
        packets.wait_for(u64::from(course.batches) * course.packets)
    })?;
    let mut found = Flips {
        took,
        sent,
        known: 0,
        late: 0,
    };
    for mark in 1..=course.marks() {
        found.known += instruments.mark_seen(mark)?.1;
    }
    for (old, then) in late {
        found.late += instruments.mark_seen(old)?.1 - then;
    }
    Ok(found)
}

/// How many packets there were.
pub(super) struct Packets(AtomicU64);

impl Packets {
    /// Those of whole bursts.
    pub(super) fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Until there were so many.
    pub(super) fn wait_for(&self, packets: u64) -> Result<()> {
        let start = Instant::now();
        while self.so_far() < packets {
            ensure!(start.elapsed() < PATIENCE, "the injector stands still");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Packets through the product, these frames in turn, while something else is done; how many there were.
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
    // What is left in the ring is taken at once.
    thread::sleep(Duration::from_millis(20));
    Ok(packets.0.into_inner())
}

fn first_seen(instruments: &Instruments, mark: u32) -> Result<u64> {
    let start = Instant::now();
    loop {
        match instruments.mark_seen(mark)?.0 {
            0 => ensure!(start.elapsed() < PATIENCE, "no packet met rule {mark}"),
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
        let course = Course {
            pods: 3,
            batches: 2,
            packets: 0,
        };
        let marks: Vec<u32> = (0..=2)
            .flat_map(|batch| (0..3).map(move |pod| (batch, pod)))
            .map(|(batch, pod)| course.mark(batch, pod))
            .collect();
        assert_eq!(marks, (1..=course.marks()).collect::<Vec<_>>());
    }
}
