//! The cost of maps and helpers: sixteen operations per run, with random keys.

use anyhow::Result;

use crate::{
    instruments::Instruments,
    report::{Section, number},
    stats::interleave,
    suite::Suite,
};

const SIZES: [u32; 4] = [1, 100, 10_000, 100_000];
/// Operations of one run.
const TIMES: f64 = 16.0;
const REPEAT: u32 = 30_000;
/// Maps, whose cost depends on the number of entries.
const MAPS: [(&str, &str); 6] = [
    ("m_array", "array"),
    ("m_percpu", "per-CPU array"),
    ("m_hash4", "hash, 4-byte key"),
    ("m_hash16", "hash, 16-byte key"),
    ("m_lru", "LRU hash, 16-byte key"),
    ("m_lpm", "LPM trie, IPv4"),
];
const HELPERS: [(&str, &str); 6] = [
    ("m_counter", "per-CPU counter"),
    ("m_atomic", "shared counter, atomic"),
    ("m_redirect", "bpf_redirect_map"),
    ("m_metadata", "bpf_xdp_adjust_meta, grow and shrink"),
    ("m_clock", "bpf_ktime_get_ns"),
    ("m_coarse_clock", "bpf_ktime_get_coarse_ns"),
];

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let (passes, repeat) = (suite.passes(), suite.scaled(REPEAT));
    let mut instruments = Instruments::load(true)?;
    let mut section = Section::new("", "");
    let mut rows: Vec<Vec<String>> = MAPS.iter().map(|(_, name)| vec![(*name).to_owned()]).collect();
    let mut filled = 0;
    for size in SIZES {
        instruments.fill_micro(filled, size)?;
        filled = size;
        for (row, net) in rows
            .iter_mut()
            .zip(net(&instruments, &MAPS, passes, repeat, size, &mut section)?)
        {
            // The per-CPU array is smaller.
            row.push(if size > 32_768 && row[0].starts_with("per-CPU") {
                "–".to_owned()
            } else {
                number(net)
            });
        }
    }
    section.table(
        "ns per operation, net of an empty loop, by entries: median",
        &["map", "1", "100", "10,000", "100,000"],
        rows,
    );
    // Few enough to stay in the L1 cache.
    instruments.fill_micro(100, 100)?;
    let helpers = net(&instruments, &HELPERS, passes, repeat, 0, &mut section)?;
    let rows = HELPERS
        .iter()
        .zip(helpers)
        .map(|((_, name), net)| vec![(*name).to_owned(), number(net)]);
    section.table("ns per operation: median", &["helper", "ns"], rows.collect());
    section.note("Array lookups are inlined. The others are calls, which include return thunks where the CPU needs them.");
    Ok(section)
}

fn net(
    instruments: &Instruments,
    programs: &[(&str, &str)],
    passes: usize,
    repeat: u32,
    size: u32,
    section: &mut Section,
) -> Result<Vec<f64>> {
    let mut all = vec![instruments.program("m_nothing")?];
    for (program, _) in programs {
        all.push(instruments.program(program)?);
    }
    let samples = interleave(passes, &all, |program| {
        instruments.bare(program, &[0; 64], repeat)
    })?;
    for ((_, name), samples) in programs.iter().zip(&samples[1..]) {
        section.add_trials(
            format!("{name}, {size} entries"),
            "ns per 16 operations, loop included",
            samples,
        );
    }
    Ok(samples[1..]
        .iter()
        .map(|one| one.with(&samples[0], |own, empty| (own - empty) / TIMES).median())
        .collect())
}
