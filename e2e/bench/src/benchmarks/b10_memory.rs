//! The cost of rules: bytes in the kernel, and the agent's memory and CPU time.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::b06_compile::change_one;
use crate::{
    process,
    report::{Section, number},
    suite::Suite,
    tables,
    workload::Workload,
};

/// Maps of the classifier.
const CLASSIFIER: [&str; 6] = [
    "POD_BLOCKS",
    "SOURCES_V4",
    "SOURCES_V6",
    "CLASSES",
    "PORT_BLOCKS",
    "ACTIONS",
];
/// Duration of each measurement of the agent's CPU time.
const WATCHED: Duration = Duration::from_secs(5);

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let mut section = Section::new("", "");
    let mut rows = Vec::new();
    for (pods, rules) in [(110, 4), (110, 100), (110, 228)] {
        let epoch = suite.next_epoch();
        let testbed = suite.testbed()?;
        let workload = Workload::new(&testbed.v4(pods), rules, epoch);
        testbed.reinstall(&workload)?;
        let found = tables::read(&suite.pin_dir())?;
        let bytes: usize = found
            .iter()
            .filter(|table| CLASSIFIER.contains(&table.name.as_str()))
            .filter_map(|table| Some(table.used? * table.element))
            .sum();
        let per_rule = bytes as f64 / workload.rules() as f64;
        section.fact(format!("memory.rule.{rules}"), per_rule);
        let mut row = vec![format!("{} × {}", pods, rules), number(per_rule)];
        row.extend(CLASSIFIER.map(|name| {
            let table = found.iter().find(|table| table.name == name);
            table
                .and_then(|table| table.used)
                .map_or_else(|| "?".to_owned(), |used| used.to_string())
        }));
        rows.push(row);
        if rules == 228 {
            all_maps(&mut section, &found);
        }
    }
    let columns = [
        "pods × rules",
        "bytes per rule",
        "pods",
        "sources v4",
        "sources v6",
        "classes",
        "ports",
        "actions",
    ];
    section.table(
        "classifier tables of a newly started agent: bytes per rule, and elements in use",
        &columns,
        rows,
    );
    agent(suite, &mut section)?;
    Ok(section)
}

fn all_maps(section: &mut Section, found: &[tables::PinnedMap]) {
    let rows = found.iter().map(|table| {
        vec![
            table.name.clone(),
            table.element.to_string(),
            table.room.to_string(),
            table.used.map_or_else(|| "–".to_owned(), |used| used.to_string()),
            number(table.memory / 1024.0),
        ]
    });
    section.table(
        "all maps with 25,080 rules",
        &[
            "map",
            "bytes per element",
            "capacity",
            "in use",
            "kB, accounted by the kernel",
        ],
        rows.collect(),
    );
    let all: f64 = found.iter().map(|table| table.memory).sum();
    section.fact("memory.maps", all / 1e6);
    section.note(format!("All maps together: {} MB, allocated once, for the maximum number of elements. Each rule also has a name and per-CPU counters.", number(all / 1e6)));
}

fn agent(suite: &mut Suite<'_>, section: &mut Section) -> Result<()> {
    let (id, epoch) = (process::agent(suite.lab())?, suite.next_epoch());
    let resident = process::kilobytes(id, "VmRSS")? / 1000.0;
    let peak = process::kilobytes(id, "VmHWM")? / 1000.0;
    let own = process::kilobytes(id, "RssAnon")? / 1000.0;
    let testbed = suite.testbed()?;
    let mut workload = Workload::new(&testbed.v4(110), 228, epoch);
    testbed.install(&workload)?;
    // Waits until the work of the change is done.
    std::thread::sleep(WATCHED);
    let idle = cpu_share(id, || std::thread::sleep(WATCHED))?;
    let mut failed = Ok(());
    let busy = cpu_share(id, || {
        let start = Instant::now();
        let mut change = 0;
        while start.elapsed() < WATCHED {
            change_one(&mut workload, change % 110, 40_000 + change as u32);
            failed = testbed.write(&workload, change % 110);
            change += 1;
            let next = Duration::from_millis(100) * change as u32;
            std::thread::sleep(next.saturating_sub(start.elapsed()));
        }
    })?;
    failed?;
    section.fact("agent.rss", resident);
    section.fact("agent.idle", idle);
    section.fact("agent.busy", busy);
    section.table(
        "the agent, 110 pods and 25,080 rules",
        &[
            "resident, MB",
            "anonymous, MB",
            "peak, MB",
            "CPU, idle",
            "CPU, ten changes a second",
        ],
        vec![vec![
            number(resident),
            number(own),
            number(peak),
            format!("{} %", number(idle)),
            format!("{} %", number(busy)),
        ]],
    );
    section.note("Resident memory includes the pages of mapped tables that the agent has touched. Each change makes the agent read a file of 228 rules again; most of the time is YAML parsing.");
    Ok(())
}

fn cpu_share(id: u32, work: impl FnOnce()) -> Result<f64> {
    let (before, start) = (process::cpu_seconds(id)?, Instant::now());
    work();
    Ok(100.0 * (process::cpu_seconds(id)? - before) / start.elapsed().as_secs_f64())
}
