//! The product compared with a build of its program without flow tables, with the same rules.

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;
use xdp_core::tables::ABI_VERSION;

use crate::{
    benchmarks::without::contestants,
    instruments::{FrameSet, Instruments},
    report::{Section, number, ratio, spread},
    stats::{Samples, aa_spread, interleave},
    suite::Suite,
    testbed::{FLOWS, Testbed},
    workload::{FlowClass, Workload},
};

const REPEAT: u32 = 400_000;
/// First set and number of sets of 4,096 flows that are fed in turn.
const SIZES: [(FrameSet, u32); 2] = [(FrameSet(8), 1), (FrameSet(16), 16)];
const NAMES: [&str; 3] = ["without flow tables", "xdp-operator", "xdp-operator, again"];

pub(super) fn run(suite: &mut Suite<'_>, section: &mut Section) -> Result<()> {
    let (passes, repeat, epoch) = (suite.passes(), suite.scaled(REPEAT), suite.next_epoch());
    let least = suite.aa;
    let pins = suite.pin_dir().join(format!("abi-{ABI_VERSION}/maps"));
    let testbed = suite.testbed()?;
    let workload = testbed.full_workload(epoch);
    testbed.install(&workload)?;
    let mut instruments = testbed.instruments()?;
    let contestants = contestants(&instruments, testbed, &pins)?;
    let mut rows = Vec::new();
    for (set, sets) in SIZES {
        let check = prepare(testbed, &mut instruments, &workload, &contestants, (set, sets))?;
        let found = interleave(passes, &contestants, |program| {
            instruments.fed_many(program, set, sets, repeat)
        })?;
        check(testbed)?;
        // Net of the feeder with as many frames.
        let net = |index: usize| found[index].with(&found[0], |own, floor| own - floor);
        rows.extend(show(section, &[net(1), net(2), net(3)], sets * 4096, least));
    }
    let title = "ns per packet of tracked flows, net of the feeder; 110 pods, 11,000 rules";
    let columns = [
        "flows: program",
        "minimum / median / maximum",
        "relative to without",
    ];
    section.table(title, &columns, rows);
    section.note(format!("Capacity of the flow table: {FLOWS} flows (`--flows`); the array that is looked up first has four slots per flow. Before the measurement, every flow is fed once, and both programs must decide it as the suite's list of rules does. Afterwards every flow must still be tracked, so no flow was opened or evicted during the measurement."));
    Ok(())
}

/// Feeds every flow of these sets once. Returns a check that all flows are still tracked.
fn prepare<'w>(
    testbed: &Testbed<'_>,
    instruments: &mut Instruments,
    workload: &'w Workload,
    contestants: &[ProgramFd],
    (set, sets): (FrameSet, u32),
) -> Result<impl Fn(&Testbed<'_>) -> Result<()> + use<'w>> {
    let count = sets as usize * 4096;
    let flows = workload
        .flows(FlowClass::Allow, count, 1, false)
        .context("too few flows")?;
    let frames = testbed.frames(workload, &flows)?;
    instruments.set_many_frames(set, &frames)?;
    for program in &contestants[1..3] {
        let wrong = testbed.wrong(program, workload, &flows)?;
        ensure!(
            wrong.is_empty(),
            "{} of {count} flows evaluated otherwise: {:?}",
            wrong.len(),
            wrong.first()
        );
    }
    Ok(move |testbed: &Testbed<'_>| {
        let untracked = testbed.count_untracked(workload, &flows)?;
        ensure!(
            untracked == 0,
            "{untracked} of {count} flows are no longer tracked"
        );
        Ok(())
    })
}

fn show(section: &mut Section, net: &[Samples; 3], count: u32, least: f64) -> Vec<Vec<String>> {
    let aa = aa_spread(&net[1], &net[2]).max(least);
    section.fact(format!("reply_path.in.{count}"), net[1].ratio(&net[0]).median());
    let bars = NAMES.into_iter().zip(net).take(2);
    section.bars(
        &format!("reply-path-{count}"),
        &format!("ns per packet of {count} tracked flows, net of the feeder"),
        "ns",
        bars.map(|(name, samples)| (name.to_owned(), samples.median())),
    );
    section.note(format!(
        "A/A spread of xdp-operator with {count} flows: {} %.",
        number(100.0 * aa)
    ));
    let row = |(name, samples): (&str, &Samples)| {
        section.add_trials(format!("{count} flows: {name}"), "ns", samples);
        let times = samples.ratio(&net[0]).median();
        vec![format!("{count}: {name}"), spread(samples), ratio(times, aa)]
    };
    NAMES.into_iter().zip(net).map(row).collect()
}
