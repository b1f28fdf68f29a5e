//! The resolution of the measurement: a program compared with itself, in test runs and live.

use anyhow::Result;

use crate::{
    instruments::{FrameSet, Instruments},
    report::{Section, number, spread},
    shared::FRAME,
    stats::{Samples, aa_spread, interleave},
    suite::Suite,
};

/// Runs of one trial. The kernel reports whole nanoseconds per run.
const REPEAT: u32 = 500_000;

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let passes = 2 * suite.passes() + 1;
    let mut instruments = Instruments::load(false)?;
    let programs = [
        instruments.program("drop_all")?,
        instruments.program("drop_again")?,
    ];
    let bare = interleave(passes, &programs, |program| {
        instruments.bare(program, &[0; FRAME], REPEAT)
    })?;
    let fed = interleave(passes, &programs, |program| {
        instruments.fed(program, FrameSet(0), REPEAT)
    })?;
    let lab = xdp_lab::Lab::new()?;
    let client = lab.namespace("client")?;
    let nic = lab.nic(xdp_lab::NicSpec::new("nic0", &client))?;
    let live = interleave(passes, &programs, |program| {
        let live = instruments.live(lab.node(), nic.ifindex, program, FrameSet(0), REPEAT);
        Ok::<_, anyhow::Error>(live?.per_packet())
    })?;
    suite.aa = aa_spread(&fed[0], &fed[1]).max(aa_spread(&bare[0], &bare[1]));
    suite.live_aa = aa_spread(&live[0], &live[1]);
    Ok(section(&[
        ("two instructions (floor)", bare),
        ("two instructions, with the feeder", fed),
        ("two instructions, live frames", live),
    ]))
}

fn section(found: &[(&str, Vec<Samples>)]) -> Section {
    let mut section = Section::new("", "");
    let mut rows = Vec::new();
    for (name, samples) in found {
        let apart = 100.0 * aa_spread(&samples[0], &samples[1]);
        rows.push(vec![
            (*name).to_owned(),
            spread(&samples[0]),
            spread(&samples[1]),
            format!("{} %", number(apart)),
        ]);
        section.add_trials(format!("{name}, A"), "ns", &samples[0]);
        section.add_trials(format!("{name}, again"), "ns", &samples[1]);
    }
    section.fact("floor", found[0].1[0].median());
    section.table(
        "XDP_DROP, ns per packet: minimum / median / maximum",
        &["method", "A", "again", "A/A spread"],
        rows,
    );
    section.note("The feeder writes the frame of another flow over the packet before each run. Its cost is subtracted wherever a program is compared with the floor.");
    section.note("A/A spread: the 80th percentile of the difference within one pass.");
    section
}
