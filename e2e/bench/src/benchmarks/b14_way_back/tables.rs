//! The product, and the same program that remembers no flows, with the same tables of rules.

use anyhow::{Context as _, Result, ensure};
use aya::programs::{ProgramFd, Xdp};
use aya::{Ebpf, EbpfLoader};
use xdp_core::tables::{ABI_VERSION, programs};

use crate::instruments::{Instruments, Set};
use crate::report::{Section, ratio, spread};
use crate::stats::interleave;
use crate::suite::Suite;
use crate::workload::{Class, Workload};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-ebpf-without-flows"));
const REPEAT: u32 = 400_000;
/// Sets of 4,096 flows that come in turn, and where they are.
const SIZES: [(Set, u32); 2] = [(Set(8), 1), (Set(16), 16)];
const PODS: usize = 110;
const RULES: usize = 100;

pub(super) fn run(suite: &mut Suite<'_>, section: &mut Section) -> Result<()> {
    let (rounds, repeat, epoch, aa) = (suite.rounds(), suite.scaled(REPEAT), suite.next_epoch(), suite.aa);
    let pins = suite.pin_dir().join(format!("abi-{ABI_VERSION}/maps"));
    let stage = suite.stage()?;
    let workload = Workload::new(&stage.v4(PODS), RULES, epoch);
    stage.install(&workload)?;
    let mut ebpf = EbpfLoader::new().default_map_pin_directory(&pins).load(OBJECT)?;
    let programs = [without_flows(&mut ebpf)?, stage.product()?];
    let mut instruments = Instruments::load(false)?;
    let floor = instruments.program("drop_all")?;
    let mut rows = Vec::new();
    for (set, sets) in SIZES {
        let count = sets as usize * 4096;
        let flows = workload
            .flows(Class::Allow, count, 1, false)
            .context("too few flows")?;
        let frames = stage.frames(&workload, &flows)?;
        instruments.set_many_frames(set, &frames)?;
        for program in &programs {
            let wrong = stage.wrong(program, &workload, &flows[..1024])?;
            ensure!(
                wrong.is_empty(),
                "{} of 1024 flows judged otherwise: {:?}",
                wrong.len(),
                wrong.first()
            );
        }
        let contestants = [&floor, &programs[0], &programs[1]];
        let found = interleave(rounds, &contestants, |program| {
            instruments.fed_many(program, set, sets, repeat)
        })?;
        // Net of the feeder, which walks through as many frames.
        let net = |place: usize| found[place].with(&found[0], |own, floor| own - floor);
        let [without, with] = [net(1), net(2)];
        let times = with.ratio(&without).median();
        section.fact(format!("way_back.in.{count}"), times);
        for (name, samples) in [("without flows", &without), ("ours", &with)] {
            section.keep(format!("{count} flows: {name}"), "ns", samples);
        }
        rows.push(vec![
            count.to_string(),
            spread(&without),
            spread(&with),
            ratio(times, aa),
        ]);
    }
    section.table(
        "ns per packet of flows that are known, net of the feeder; 110 pods, 11,000 rules",
        &["flows", "without tables of flows", "ours", "ratio"],
        rows,
    );
    Ok(())
}

fn without_flows(ebpf: &mut Ebpf) -> Result<ProgramFd> {
    let program = ebpf.program_mut(programs::NIC).context("no XDP program")?;
    let program: &mut Xdp = program.try_into()?;
    program.load()?;
    Ok(program.fd()?.try_clone()?)
}
