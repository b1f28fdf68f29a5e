//! From manifests to verdicts: all rules replaced, and one of them changed.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    report::{Section, number, spread},
    stats::Samples,
    suite::Suite,
    testbed::Testbed,
    workload::Workload,
};

const SIZES: [(usize, usize); 4] = [(1, 1), (100, 10), (100, 100), (100, 250)];
const CHANGES: u32 = 100;
const TIMES: usize = 5;
/// The target applies to the last one.
const RATES: [(&str, Duration); 2] = [
    ("each immediately after the last", Duration::ZERO),
    ("each 100 ms after the last", Duration::from_millis(100)),
];

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let mut section = Section::new("", "");
    let mut rows = Vec::new();
    for (pods, rules) in SIZES {
        let (mut wall, mut reconciles) = (Samples::default(), Samples::default());
        for _ in 0..if suite.options.quick { 2 } else { TIMES } {
            let epoch = suite.next_epoch();
            let testbed = suite.testbed()?;
            let workload = Workload::new(&testbed.v4(pods), rules, epoch);
            let before = reconcile_time(testbed);
            wall.0.push(testbed.install(&workload)?.as_secs_f64() * 1e3);
            reconciles.0.push(reconcile_time(testbed) - before);
        }
        section.add_trials(format!("{pods}×{rules} replaced"), "ms", &wall);
        section.add_trials(
            format!("{pods}×{rules} replaced: reconcile time"),
            "ms",
            &reconciles,
        );
        section.fact(format!("resync.{}", pods * rules), wall.median());
        section.fact(format!("reconcile.{}", pods * rules), reconciles.median());
        rows.push(vec![
            (pods * rules).to_string(),
            spread(&wall),
            spread(&reconciles),
        ]);
    }
    section.table(
        "all rules replaced, ms: minimum / median / maximum",
        &[
            "rules",
            "first file written → new rule of the last pod in effect",
            "of which in the agent's reconciles",
        ],
        rows,
    );
    let changes = if suite.options.quick { CHANGES / 4 } else { CHANGES };
    let mut table = Vec::new();
    for (rate, apart) in RATES {
        for (pods, rules) in [(100, 10), (100, 250)] {
            let epoch = suite.next_epoch();
            let testbed = suite.testbed()?;
            let workload = Workload::new(&testbed.v4(pods), rules, epoch);
            let took = single_changes(testbed, workload, (changes, apart))?;
            let rules = pods * rules;
            section.add_trials(format!("one of {rules} rules, {rate}"), "ms", &took);
            if !apart.is_zero() {
                section.fact("change.p50", took.median());
                section.fact("change.p99", took.quantile(0.99));
            }
            let numbers = [took.median(), took.quantile(0.99), took.max()].map(number);
            table.push([vec![rules.to_string(), rate.to_owned()], numbers.to_vec()].concat());
        }
    }
    section.table(
        "one rule changed: file written → rule in effect, ms",
        &["rules", "changes", "p50", "p99", "maximum"],
        table,
    );
    section.note("An immediate change waits for the end of the previous reconcile, which waits for programs that may still read the replaced tables (a grace period of the kernel) and reads the tables back.");
    section.note("Measured by the writer of the files: the times include inotify, YAML parsing and the agent's wait for further changes. In a cluster, a watch delivers the objects instead.");
    Ok(section)
}

/// Measures single changes. Each starts `apart` after the previous one is programmed.
fn single_changes(
    testbed: &mut Testbed<'_>,
    mut workload: Workload,
    (changes, apart): (u32, Duration),
) -> Result<Samples> {
    testbed.install(&workload)?;
    let mut took = Samples::default();
    for change in 0..changes {
        let target = (change * 37) as usize % workload.targets.len();
        change_one(&mut workload, target, 40_000 + change);
        let flow = workload.probe(target);
        let start = Instant::now();
        testbed.write(&workload, target)?;
        while !testbed.is_right(&workload, &flow)? {
            ensure!(start.elapsed().as_secs() < 20, "a changed rule is not programmed");
            thread::sleep(Duration::from_micros(50));
        }
        took.0.push(start.elapsed().as_secs_f64() * 1e3);
        thread::sleep(apart);
    }
    Ok(took)
}

/// Changes the mark of a pod's last rule.
pub(super) fn change_one(workload: &mut Workload, target: usize, number: u32) {
    if let Some(rule) = workload.targets[target].rules.last_mut() {
        rule.number = number;
    }
}

/// Returns the time of all reconciles so far in milliseconds, from the agent's metrics.
fn reconcile_time(testbed: &Testbed<'_>) -> f64 {
    let metrics = testbed
        .agent
        .get("/metrics")
        .map(|reply| reply.body)
        .unwrap_or_default();
    let sum = metrics
        .lines()
        .find_map(|line| line.strip_prefix("xdp_agent_reconcile_duration_seconds_sum "));
    sum.and_then(|value| value.trim().parse::<f64>().ok())
        .map_or(f64::NAN, |seconds| seconds * 1e3)
}
