//! From manifests to verdicts: all rules exchanged, and one of them changed.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    report::{Section, number, spread},
    stage::Stage,
    stats::Samples,
    suite::Suite,
    workload::Workload,
};

const SIZES: [(usize, usize); 4] = [(1, 1), (100, 10), (100, 100), (100, 250)];
const CHANGES: u32 = 100;
const TIMES: usize = 5;
/// The last is the target's.
const RATES: [(&str, Duration); 2] = [
    ("each at once after the last", Duration::ZERO),
    ("each 100 ms after the last", Duration::from_millis(100)),
];

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let mut section = Section::new("", "");
    let mut rows = Vec::new();
    for (pods, rules) in SIZES {
        let (mut wall, mut rounds) = (Samples::default(), Samples::default());
        for _ in 0..if suite.options.quick { 2 } else { TIMES } {
            let epoch = suite.next_epoch();
            let stage = suite.stage()?;
            let workload = Workload::new(&stage.v4(pods), rules, epoch);
            let before = busy(stage);
            wall.0.push(stage.install(&workload)?.as_secs_f64() * 1e3);
            rounds.0.push(busy(stage) - before);
        }
        section.keep(format!("{pods}×{rules} exchanged"), "ms", &wall);
        section.keep(
            format!("{pods}×{rules} exchanged: the loop's rounds"),
            "ms",
            &rounds,
        );
        section.fact(format!("resync.{}", pods * rules), wall.median());
        section.fact(format!("rounds.{}", pods * rules), rounds.median());
        rows.push(vec![(pods * rules).to_string(), spread(&wall), spread(&rounds)]);
    }
    section.table(
        "all rules exchanged, ms: minimum / median / maximum",
        &[
            "rules",
            "first file written → last pod's new rule decides",
            "of it, in the agent's rounds",
        ],
        rows,
    );
    let changes = if suite.options.quick { CHANGES / 4 } else { CHANGES };
    let mut table = Vec::new();
    for (rate, apart) in RATES {
        for (pods, rules) in [(100, 10), (100, 250)] {
            let epoch = suite.next_epoch();
            let stage = suite.stage()?;
            let workload = Workload::new(&stage.v4(pods), rules, epoch);
            let took = single_changes(stage, workload, (changes, apart))?;
            let rules = pods * rules;
            section.keep(format!("one of {rules} rules, {rate}"), "ms", &took);
            if !apart.is_zero() {
                section.fact("change.p50", took.median());
                section.fact("change.p99", took.quantile(0.99));
            }
            let numbers = [took.median(), took.quantile(0.99), took.max()].map(number);
            table.push([vec![rules.to_string(), rate.to_owned()], numbers.to_vec()].concat());
        }
    }
    section.table(
        "one rule changed: file written → the program decides by it, ms",
        &["rules", "changes", "p50", "p99", "maximum"],
        table,
    );
    section.note("A change that comes at once waits for the end of the round before: it waits for programs that may still read what was replaced (a grace period of the kernel), and reads back what is in force.");
    section.note("By the clock of whoever writes the files: what inotify, YAML and the agent's wait for more changes take is in it. A cluster's watch delivers objects instead.");
    Ok(section)
}

/// The next change comes so long after the one before is in force.
fn single_changes(
    stage: &mut Stage<'_>,
    mut workload: Workload,
    (changes, apart): (u32, Duration),
) -> Result<Samples> {
    stage.install(&workload)?;
    let mut took = Samples::default();
    for change in 0..changes {
        let target = (change * 37) as usize % workload.targets.len();
        change_one(&mut workload, target, 40_000 + change);
        let flow = workload.probe(target);
        let start = Instant::now();
        stage.write(&workload, target)?;
        while !stage.is_right(&workload, &flow)? {
            ensure!(start.elapsed().as_secs() < 20, "a changed rule is not in force");
            thread::sleep(Duration::from_micros(50));
        }
        took.0.push(start.elapsed().as_secs_f64() * 1e3);
        thread::sleep(apart);
    }
    Ok(took)
}

/// The pod's last rule gets another mark.
pub(super) fn change_one(workload: &mut Workload, target: usize, number: u32) {
    if let Some(rule) = workload.targets[target].rules.last_mut() {
        rule.number = number;
    }
}

/// How long the agent's rounds took so far, in milliseconds, by its own metrics.
fn busy(stage: &Stage<'_>) -> f64 {
    let metrics = stage
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
