//! Rules that change while packets come: when the first packet meets the new rule, and whether any meets neither.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::b06_compile::change_one;
use crate::instruments::{CPU, Instruments, Set};
use crate::stage::{Sinks, Stage};
use crate::stats::Samples;
use crate::sys::{self, Hook};
use crate::workload::Workload;

/// Packets of one call of the injector.
const BURST: u32 = 100_000;

/// On a slow machine there are fewer flips.
const LONGEST: Duration = Duration::from_secs(45);

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

/// So many changes of the first pod's rule, the injector running all the time. Fewer than 4,000: marks tell them apart.
pub(super) fn run(stage: &mut Stage<'_>, mut workload: Workload, flips: u32) -> Result<Flips> {
    change_one(&mut workload, 0, 1);
    stage.install(&workload)?;
    let mut instruments = Instruments::load(false)?;
    let flow = workload.probe(0);
    instruments.set_frames(Set(0), &[stage.frame(&workload, &flow)])?;
    let _sinks = Sinks::attach(&instruments, "watch", Hook::TcxIngress, &stage.pods[..1])?;
    instruments.prepare(&stage.product()?, Set(0), u64::MAX)?;
    let (stop, bursts) = (AtomicBool::new(false), AtomicU64::new(0));
    let feeder = instruments.program("feed")?;
    let (node, nic) = (stage.node.clone(), stage.nic.ifindex);
    let inject = || -> Result<()> {
        node.run(|| {
            sys::pin_to(CPU)?;
            while !stop.load(Ordering::Relaxed) {
                sys::run_live(&feeder, &[0; 64], BURST, nic)?;
                bursts.fetch_add(1, Ordering::Relaxed);
            }
            std::io::Result::Ok(())
        })?
        .context("the injector")
    };
    let took = thread::scope(|scope| {
        let injector = scope.spawn(inject);
        let took = flip(stage, &instruments, &mut workload, flips);
        stop.store(true, Ordering::Relaxed);
        injector
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        took
    })?;
    // What is left in the ring is taken at once.
    thread::sleep(Duration::from_millis(20));
    let mut counts = vec![0; flips as usize + 2];
    for (mark, count) in counts.iter_mut().enumerate().skip(1) {
        *count = instruments.mark_seen(mark as u32)?.1;
    }
    let sent = bursts.into_inner() * u64::from(BURST);
    let late = took
        .1
        .iter()
        .zip(&counts[1..])
        .map(|(then, end)| end - then)
        .sum();
    Ok(Flips {
        took: took.0,
        sent,
        known: counts.iter().sum(),
        late,
    })
}

/// Milliseconds of each flip, and how often the old mark had been seen when the new one had come.
fn flip(
    stage: &Stage<'_>,
    instruments: &Instruments,
    workload: &mut Workload,
    flips: u32,
) -> Result<(Samples, Vec<u64>)> {
    let (mut took, mut old_counts) = (Samples::default(), Vec::new());
    let begin = Instant::now();
    for number in 2..flips + 2 {
        if begin.elapsed() > LONGEST {
            break;
        }
        change_one(workload, 0, number);
        let (start, patience) = (sys::now(), Instant::now());
        stage.write(workload, 0)?;
        let first = loop {
            match instruments.mark_seen(number)?.0 {
                0 => ensure!(patience.elapsed().as_secs() < 20, "no packet met rule {number}"),
                first => break first,
            }
            thread::sleep(Duration::from_micros(100));
        };
        old_counts.push(instruments.mark_seen(number - 1)?.1);
        took.0.push((first.saturating_sub(start)) as f64 / 1e6);
    }
    Ok((took, old_counts))
}
