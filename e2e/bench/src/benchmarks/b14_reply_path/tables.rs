//! The product, and the same program that remembers no flows, with the same tables of rules.

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    programs::{ProgramFd, Xdp},
};
use xdp_core::tables::{ABI_VERSION, programs};

use crate::{
    instruments::{Instruments, Set},
    report::{Section, number, ratio, spread},
    stage::{FLOWS, Stage},
    stats::{Samples, aa_spread, interleave},
    suite::Suite,
    workload::{Class, Workload},
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-ebpf-without-flows"));
const REPEAT: u32 = 400_000;
/// Sets of 4,096 flows that come in turn, and where they are.
const SIZES: [(Set, u32); 2] = [(Set(8), 1), (Set(16), 16)];
const PODS: usize = 110;
const RULES: usize = 100;
const NAMES: [&str; 3] = ["without tables of flows", "ours", "ours, the same again"];

pub(super) fn run(suite: &mut Suite<'_>, section: &mut Section) -> Result<()> {
    let (rounds, repeat, epoch) = (suite.rounds(), suite.scaled(REPEAT), suite.next_epoch());
    let least = suite.aa;
    let pins = suite.pin_dir().join(format!("abi-{ABI_VERSION}/maps"));
    let stage = suite.stage()?;
    let workload = Workload::new(&stage.v4(PODS), RULES, epoch);
    stage.install(&workload)?;
    let mut ebpf = EbpfLoader::new().default_map_pin_directory(&pins).load(OBJECT)?;
    let mut instruments = Instruments::load(false)?;
    let contestants = [
        instruments.program("drop_all")?,
        without_flows(&mut ebpf)?,
        stage.product()?,
        stage.product()?,
    ];
    let mut rows = Vec::new();
    for (set, sets) in SIZES {
        let check = prepare(stage, &mut instruments, &workload, &contestants, (set, sets))?;
        let found = interleave(rounds, &contestants, |program| {
            instruments.fed_many(program, set, sets, repeat)
        })?;
        check(stage)?;
        // Net of the feeder, which walks through as many frames.
        let net = |place: usize| found[place].with(&found[0], |own, floor| own - floor);
        rows.extend(show(section, &[net(1), net(2), net(3)], sets * 4096, least));
    }
    let title = "ns per packet of flows that are known, net of the feeder; 110 pods, 11,000 rules";
    let columns = ["flows: program", "minimum / median / maximum", "against without"];
    section.table(title, &columns, rows);
    section.note(format!("Flows: room for {FLOWS} (`--flows`) and four places for each in the array that is asked first. Every flow is fed once before, and must be judged as the suite's list says by both programs; all must still be known afterwards, so nothing was opened or evicted meanwhile."));
    Ok(())
}

/// Feeds every flow of these sets once; what is returned tells whether all are still known.
fn prepare<'w>(
    stage: &Stage<'_>,
    instruments: &mut Instruments,
    workload: &'w Workload,
    contestants: &[ProgramFd],
    (set, sets): (Set, u32),
) -> Result<impl Fn(&Stage<'_>) -> Result<()> + use<'w>> {
    let count = sets as usize * 4096;
    let flows = workload
        .flows(Class::Allow, count, 1, false)
        .context("too few flows")?;
    let frames = stage.frames(workload, &flows)?;
    instruments.set_many_frames(set, &frames)?;
    for program in &contestants[1..3] {
        let wrong = stage.wrong(program, workload, &flows)?;
        ensure!(
            wrong.is_empty(),
            "{} of {count} flows judged otherwise: {:?}",
            wrong.len(),
            wrong.first()
        );
    }
    Ok(move |stage: &Stage<'_>| {
        let forgotten = stage.forgotten(workload, &flows)?;
        ensure!(forgotten == 0, "{forgotten} of {count} flows were forgotten");
        Ok(())
    })
}

fn show(section: &mut Section, net: &[Samples; 3], count: u32, least: f64) -> Vec<Vec<String>> {
    let aa = aa_spread(&net[1], &net[2]).max(least);
    section.fact(format!("reply_path.in.{count}"), net[1].ratio(&net[0]).median());
    let bars = NAMES.into_iter().zip(net).take(2);
    section.bars(
        &format!("reply-path-{count}"),
        &format!("ns per packet of {count} known flows, net of the feeder"),
        "ns",
        bars.map(|(name, samples)| (name.to_owned(), samples.median())),
    );
    section.note(format!(
        "A/A spread of ours with {count} flows: {} %.",
        number(100.0 * aa)
    ));
    let row = |(name, samples): (&str, &Samples)| {
        section.keep(format!("{count} flows: {name}"), "ns", samples);
        let times = samples.ratio(&net[0]).median();
        vec![format!("{count}: {name}"), spread(samples), ratio(times, aa)]
    };
    NAMES.into_iter().zip(net).map(row).collect()
}

fn without_flows(ebpf: &mut Ebpf) -> Result<ProgramFd> {
    let program = ebpf.program_mut(programs::NIC).context("no XDP program")?;
    let program: &mut Xdp = program.try_into()?;
    program.load()?;
    Ok(program.fd()?.try_clone()?)
}
