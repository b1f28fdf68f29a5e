//! Random changes for a while, with packets in between: nothing is lost, and nothing grows.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::b03_delivery::prepare;
use crate::instruments::{Instruments, Set};
use crate::process;
use crate::report::{Section, number};
use crate::stage::Sinks;
use crate::suite::Suite;
use crate::sys::Hook;
use crate::tables;
use crate::workload::Workload;

const PACKETS: u32 = 50_000;

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let (lab, time) = (suite.lab(), Duration::from_secs_f64(60.0 * suite.options.minutes));
    let (first, aside) = (suite.next_epoch(), suite.next_epoch());
    let pins = suite.pin_dir();
    let stage = suite.stage()?;
    let workload = Workload::new(&stage.v4(110), 100, first);
    stage.install(&workload)?;
    let others = [
        Workload::new(&stage.v4(110), 99, aside),
        Workload::new(&stage.v4(110), 37, aside),
    ];
    let mut instruments = Instruments::load(false)?;
    prepare(stage, &mut instruments, &workload)?;
    let _sinks = Sinks::attach(&instruments, "sink", Hook::TcxIngress, &stage.pods)?;
    let id = process::agent(lab)?;
    let (mut random, start) = (fastrand::Rng::with_seed(13), Instant::now());
    let (mut changes, mut sent, mut lost, mut memory) = (0_u64, 0, 0, Vec::new());
    while start.elapsed() < time {
        for _ in 0..10 {
            // The first pod keeps its rules: packets go there.
            let target = random.usize(1..110);
            stage.write(&others[random.usize(..2)], target)?;
            changes += 1;
        }
        let live = instruments.live(&stage.node, stage.nic.ifindex, &stage.product()?, Set(0), PACKETS)?;
        sent += live.sent;
        lost += live.lost();
        memory.push(process::kilobytes(id, "VmRSS")? / 1000.0);
    }
    stage.install(&workload)?;
    let used: usize = tables::read(&pins)?
        .iter()
        .filter(|table| table.name != "INDEX")
        .filter_map(|table| table.used)
        .sum();
    let (settled, end) = (
        memory[memory.len() / 2],
        memory.last().copied().unwrap_or_default(),
    );
    let mut section = Section::new("", "");
    section.fact("soak.lost", lost as f64);
    section.fact("soak.growth", end - settled);
    section.table(
        "rules of random pods exchanged, 50,000 packets after every ten changes",
        &[
            "minutes",
            "changes",
            "packets",
            "lost",
            "resident at half time, MB",
            "at the end",
            "elements ever used",
        ],
        vec![vec![
            number(time.as_secs_f64() / 60.0),
            changes.to_string(),
            sent.to_string(),
            lost.to_string(),
            number(settled),
            number(end),
            used.to_string(),
        ]],
    );
    section.note("MINUTES=30 makes a soak of it.");
    Ok(section)
}
