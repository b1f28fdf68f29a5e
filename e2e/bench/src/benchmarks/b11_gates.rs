//! Numbers without noise: results of the verifier and the JIT compiler for the programs.

use std::collections::BTreeSet;

use anyhow::Result;
use aya::programs::{ProgramInfo, loaded_programs};

use crate::{
    report::{Section, number},
    stats::Samples,
    suite::Suite,
    tables,
    verifier::{VerifiedProgram, load_programs},
};

const TIMES: usize = 5;

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let mut section = Section::new("", "");
    suite.testbed()?;
    let maps = tables::read(&suite.pin_dir())?
        .iter()
        .map(|table| table.id)
        .collect();
    let loads = loads(suite)?;
    let mut rows = Vec::new();
    let (mut worst, mut slowest) = (0.0_f64, 0.0_f64);
    for info in of_the_product(&maps) {
        let name = info.name_as_str().unwrap_or("?").to_owned();
        let verified = f64::from(info.verified_instruction_count().unwrap_or(0));
        let same: Vec<&VerifiedProgram> = loads.iter().filter(|one| is_named(one, &name)).collect();
        let took = Samples(same.iter().map(|one| one.took.as_secs_f64() * 1e3).collect());
        worst = worst.max(verified);
        slowest = slowest.max(took.median());
        rows.push(vec![
            name.clone(),
            (info.size_translated().unwrap_or(0) / 8).to_string(),
            info.size_jitted().to_string(),
            same.first()
                .map_or_else(|| "?".to_owned(), |one| one.stack.to_string()),
            number(verified),
            number(took.median()),
        ]);
        section.fact(format!("gates.{name}.verified"), verified);
        section.add_trials(format!("{name}: load"), "ms", &took);
    }
    section.fact("gates.verified", worst);
    section.fact("gates.load", slowest);
    section.table(
        "programs of the running agent",
        &[
            "program",
            "instructions",
            "bytes of machine code",
            "bytes of stack",
            "instructions verified",
            "time to verify and compile, ms",
        ],
        rows,
    );
    section.note("Targets apply to the most expensive program. A test in `make test` (`e2e/bench/tests/gates.rs`) bounds everything except the times. The verifier accepts at most 512 bytes of stack.");
    Ok(section)
}

/// Returns the programs that use one of these maps; each name once.
fn of_the_product(own: &BTreeSet<u32>) -> Vec<ProgramInfo> {
    let maps = |info: &ProgramInfo| info.map_ids().ok().flatten().unwrap_or_default();
    let mut names = BTreeSet::new();
    loaded_programs()
        .filter_map(Result::ok)
        .filter(|info| maps(info).iter().any(|map| own.contains(map)))
        .filter(|info| names.insert(info.name_as_str().unwrap_or_default().to_owned()))
        .collect()
}

/// Loads all programs of the object several times, each time with new maps.
fn loads(suite: &Suite<'_>) -> Result<Vec<VerifiedProgram>> {
    let mut all = Vec::new();
    for time in 0..TIMES {
        let pins = suite.lab().dir().join(format!("bpf/bench-{time}"));
        all.extend(load_programs(&pins)?);
        std::fs::remove_dir_all(&pins)?;
    }
    Ok(all)
}

/// The kernel keeps the first fifteen bytes of a name.
fn is_named(program: &VerifiedProgram, name: &str) -> bool {
    program.name.get(..15).unwrap_or(&program.name) == name
}
