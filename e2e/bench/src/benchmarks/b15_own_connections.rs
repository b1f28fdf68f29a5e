//! What a Drop pays for the question whether the pod opened the packet's connection.

use anyhow::{Context as _, Result};
use xdp_core::tables::ABI_VERSION;

use super::without::contestants;
use crate::{
    instruments::FrameSet,
    report::{Section, number, ratio, spread},
    stats::{Samples, aa_spread, interleave},
    suite::Suite,
    workload::FlowClass,
};

const REPEAT: u32 = 400_000;
/// First set and number of sets of 4,096 frames that are fed in turn.
const SETS: (FrameSet, u32) = (FrameSet(16), 16);
const NAMES: [&str; 3] = ["without the question", "xdp-operator", "xdp-operator, again"];

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let mut section = Section::new("", "");
    let (passes, repeat, epoch) = (suite.passes(), suite.scaled(REPEAT), suite.next_epoch());
    let least = suite.aa;
    let pins = suite.pin_dir().join(format!("abi-{ABI_VERSION}/maps"));
    let testbed = suite.testbed()?;
    let workload = testbed.full_workload(epoch);
    testbed.install(&workload)?;
    let mut instruments = testbed.instruments()?;
    let contestants = contestants(&instruments, testbed, &pins)?;
    let (set, sets) = SETS;
    let count = sets as usize * 4096;
    let flows = workload
        .flows(FlowClass::Drop, count, 1, false)
        .context("too few flows")?;
    instruments.set_many_frames(set, &testbed.frames(&workload, &flows)?)?;
    let found = interleave(passes, &contestants, |program| {
        instruments.fed_many(program, set, sets, repeat)
    })?;
    let net = [1, 2, 3].map(|index| found[index].with(&found[0], |own, floor| own - floor));
    show(&mut section, &net, least);
    Ok(section)
}

fn show(section: &mut Section, net: &[Samples; 3], least: f64) {
    section.fact("own.drop", net[1].ratio(&net[0]).median());
    let aa = aa_spread(&net[1], &net[2]).max(least);
    let row = |(name, samples): (&str, &Samples)| {
        section.add_trials(name, "ns", samples);
        let times = samples.ratio(&net[0]).median();
        vec![name.to_owned(), spread(samples), ratio(times, aa)]
    };
    let rows = NAMES.into_iter().zip(net).map(row).collect();
    section.table(
        "ns per packet that a rule drops, net of the feeder; 110 pods, 11,000 rules, 65,536 flows",
        &["program", "minimum / median / maximum", "relative to without"],
        rows,
    );
    section.note(format!(
        "No packet belongs to a connection of a pod. A/A spread of xdp-operator: {} %.",
        number(100.0 * aa)
    ));
}
