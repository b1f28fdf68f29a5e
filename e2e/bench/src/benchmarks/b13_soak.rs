//! Random changes for some time, with packets in between: no packet may be lost, and memory must not grow.

use std::time::{Duration, Instant};

use anyhow::Result;
use xdp_lab::bpf::BpfAttachType;

use super::b03_delivery::ready;
use crate::{
    instruments::{FrameSet, Instruments},
    process,
    report::{Section, number},
    suite::Suite,
    tables,
    testbed::{Receivers, Testbed},
    workload::Workload,
};

const PACKETS: u32 = 50_000;

/// Results.
#[derive(Default)]
struct Soak {
    changes: u64,
    sent: u64,
    lost: u64,
    /// Resident memory of the agent in MB, after every ten changes.
    memory: Vec<f64>,
}

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let (lab, time) = (suite.lab(), Duration::from_secs_f64(60.0 * suite.options.minutes));
    let (first, second) = (suite.next_epoch(), suite.next_epoch());
    let pins = suite.pin_dir();
    let testbed = suite.testbed()?;
    let workload = testbed.full_workload(first);
    let others = [
        Workload::new(&testbed.v4(110), 99, second),
        Workload::new(&testbed.v4(110), 37, second),
    ];
    let mut instruments = ready(testbed, &workload)?;
    let _receivers = Receivers::attach(&instruments, "sink", BpfAttachType::TcxIngress, &testbed.pods)?;
    let soak = soak(testbed, &mut instruments, &others, process::agent(lab)?, time)?;
    testbed.install(&workload)?;
    let used: usize = tables::read(&pins)?
        .iter()
        .filter(|table| table.name != "INDEX")
        .filter_map(|table| table.used)
        .sum();
    Ok(section(&soak, time, used))
}

fn soak(
    testbed: &Testbed<'_>,
    instruments: &mut Instruments,
    others: &[Workload],
    agent: u32,
    time: Duration,
) -> Result<Soak> {
    let (mut random, start) = (fastrand::Rng::with_seed(13), Instant::now());
    let mut soak = Soak::default();
    while start.elapsed() < time {
        for _ in 0..10 {
            // The first pod keeps its rules, because packets go there.
            let target = random.usize(1..110);
            testbed.write(&others[random.usize(..others.len())], target)?;
            soak.changes += 1;
        }
        let live = instruments.live(
            &testbed.node,
            testbed.nic.ifindex,
            &testbed.product()?,
            FrameSet(0),
            PACKETS,
        )?;
        soak.sent += live.sent;
        soak.lost += live.lost();
        soak.memory.push(process::kilobytes(agent, "VmRSS")? / 1000.0);
    }
    Ok(soak)
}

fn section(soak: &Soak, time: Duration, used: usize) -> Section {
    let half_time = soak
        .memory
        .get(soak.memory.len() / 2)
        .copied()
        .unwrap_or_default();
    let end = soak.memory.last().copied().unwrap_or_default();
    let mut section = Section::new("", "");
    section.fact("soak.lost", soak.lost as f64);
    section.fact("soak.growth", end - half_time);
    section.table(
        "rules of random pods replaced, 50,000 packets after every ten changes",
        &[
            "minutes",
            "changes",
            "packets",
            "lost",
            "resident at half time, MB",
            "at the end",
            "elements used",
        ],
        vec![vec![
            number(time.as_secs_f64() / 60.0),
            soak.changes.to_string(),
            soak.sent.to_string(),
            soak.lost.to_string(),
            number(half_time),
            number(end),
            used.to_string(),
        ]],
    );
    section.note("`MINUTES=30` runs the soak for 30 minutes.");
    section
}
