//! Numbers without noise: what the verifier and the compiler made of the programs.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Result;
use aya::EbpfLoader;
use aya::programs::{Program, ProgramInfo, loaded_programs};

use crate::report::{Section, number};
use crate::stats::Samples;
use crate::suite::Suite;
use crate::tables;

/// The product's own object, loaded here once more to see how long the kernel takes.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-ebpf"));
const TIMES: usize = 5;

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let mut section = Section::new("", "");
    suite.stage()?;
    let maps = tables::read(&suite.pin_dir())?
        .iter()
        .map(|table| table.id)
        .collect();
    let mut rows = Vec::new();
    let (mut worst, mut slowest) = (0.0_f64, 0.0_f64);
    for info in of_the_product(&maps) {
        let name = info.name_as_str().unwrap_or("?").to_owned();
        let verified = f64::from(info.verified_instruction_count().unwrap_or(0));
        let took = load_time(suite, &name)?;
        worst = worst.max(verified);
        slowest = slowest.max(took.median());
        rows.push(vec![
            name.clone(),
            (info.size_translated().unwrap_or(0) / 8).to_string(),
            info.size_jitted().to_string(),
            number(verified),
            number(took.median()),
        ]);
        section.fact(format!("gates.{name}.verified"), verified);
        section.keep(format!("{name}: load"), "ms", &took);
    }
    section.fact("gates.verified", worst);
    section.fact("gates.load", slowest);
    section.table(
        "programs of the running agent",
        &[
            "program",
            "instructions",
            "bytes of machine code",
            "instructions verified",
            "verified and compiled in, ms",
        ],
        rows,
    );
    section.note("Targets look at the worst program. How deep stacks get, the kernel tells only in a log; the verifier refuses more than 512 bytes.");
    Ok(section)
}

/// Programs that use one of its maps; each name once.
fn of_the_product(own: &BTreeSet<u32>) -> Vec<ProgramInfo> {
    let maps = |info: &ProgramInfo| info.map_ids().ok().flatten().unwrap_or_default();
    let mut names = BTreeSet::new();
    loaded_programs()
        .filter_map(Result::ok)
        .filter(|info| maps(info).iter().any(|map| own.contains(map)))
        .filter(|info| names.insert(info.name_as_str().unwrap_or_default().to_owned()))
        .collect()
}

fn load_time(suite: &Suite<'_>, name: &str) -> Result<Samples> {
    let mut took = Samples::default();
    for time in 0..TIMES {
        // The product pins its maps by name; these are others, in a place of their own.
        let pins = suite.lab().dir().join(format!("bpf/bench-{name}-{time}"));
        std::fs::create_dir_all(&pins)?;
        let mut ebpf = EbpfLoader::new().default_map_pin_directory(&pins).load(OBJECT)?;
        // The kernel keeps the first fifteen bytes of a name.
        let Some((_, program)) = ebpf
            .programs_mut()
            .find(|(own, _)| own.get(..15).unwrap_or(own) == name)
        else {
            continue;
        };
        let start = Instant::now();
        match program {
            Program::Xdp(program) => program.load()?,
            Program::SchedClassifier(program) => program.load()?,
            Program::RawTracePoint(program) => program.load()?,
            _ => continue,
        }
        took.0.push(start.elapsed().as_secs_f64() * 1e3);
        drop(ebpf);
        std::fs::remove_dir_all(&pins)?;
    }
    Ok(took)
}
