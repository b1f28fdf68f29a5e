//! Runs benchmarks, and holds what they share.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result};
use xdp_lab::Lab;

use crate::{
    benchmarks::{self, Benchmark},
    environment::{Environment, Ticks},
    report::{self, Section},
    testbed::{PODS, Testbed},
};

/// Options of a run.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Ids of the benchmarks to run; empty for all.
    pub only: Vec<String>,
    /// Whether to run fewer trials and sizes.
    pub quick: bool,
    /// Duration of the soak.
    pub minutes: f64,
    /// Directory of the results.
    pub out: PathBuf,
}

/// Shared state of the benchmarks. They share one node, because creating its pods takes seconds.
pub struct Suite<'a> {
    /// Options of the run.
    pub options: BenchOptions,
    /// A/A spread of fed programs, from B0.
    pub aa: f64,
    /// A/A spread of live packets, from B0.
    pub live_aa: f64,
    /// Distinguishes the marks of workloads.
    pub epoch: u32,
    lab: &'a Lab,
    testbed: Option<Testbed<'a>>,
}

/// Parameters of a benchmark with live packets.
#[derive(Clone, Copy, Debug)]
pub struct LiveParameters {
    /// Number of passes.
    pub passes: usize,
    /// Packets of one trial.
    pub packets: u32,
    /// Epoch of the workload.
    pub epoch: u32,
    /// A/A spread of live packets.
    pub aa: f64,
}

impl<'a> Suite<'a> {
    /// Creates the state before any benchmark.
    pub const fn new(lab: &'a Lab, options: BenchOptions) -> Self {
        Self {
            options,
            aa: 0.0,
            live_aa: 0.0,
            epoch: 0,
            lab,
            testbed: None,
        }
    }

    /// Returns the node, and creates it on first use.
    pub fn testbed(&mut self) -> Result<&mut Testbed<'a>> {
        if self.testbed.is_none() {
            self.testbed = Some(Testbed::new(self.lab, PODS)?);
        }
        self.testbed.as_mut().context("the testbed exists")
    }

    /// Returns the lab.
    pub const fn lab(&self) -> &'a Lab {
        self.lab
    }

    /// Returns the agent's pin directory.
    pub fn pin_dir(&self) -> PathBuf {
        self.lab.pin_dir()
    }

    /// Returns the number of passes.
    pub const fn passes(&self) -> usize {
        if self.options.quick { 5 } else { 9 }
    }

    /// Returns `count`, or less in a quick run.
    pub const fn scaled(&self, count: u32) -> u32 {
        if self.options.quick { count / 4 } else { count }
    }

    /// Returns the parameters of a benchmark with live packets, `packets` in each trial of a full run.
    pub const fn live_parameters(&mut self, packets: u32) -> LiveParameters {
        LiveParameters {
            passes: self.passes(),
            packets: self.scaled(packets),
            epoch: self.next_epoch(),
            aa: self.live_aa,
        }
    }

    /// Returns a new epoch for the next workload.
    pub const fn next_epoch(&mut self) -> u32 {
        self.epoch += 1;
        self.epoch
    }
}

/// Runs the chosen benchmarks, prints their results, and writes JSON and the page.
pub fn run(options: BenchOptions) -> Result<()> {
    let chosen: Vec<&Benchmark> = benchmarks::ALL
        .iter()
        .filter(|one| wanted(&options, one))
        .collect();
    println!("{}", start_message(&chosen, &options));
    let lab = Lab::new()?;
    let mut suite = Suite::new(&lab, options);
    let mut sections = Vec::new();
    for one in chosen {
        let section = measure(one, &mut suite);
        print!("{}", section.text());
        save(&suite.options.out, &section)?;
        sections.push(section);
    }
    let out = &suite.options.out;
    write_page(out)?;
    println!("\n{}", report::targets_table(&report::evaluate(&sections)).text());
    println!("\npage: {}", out.join("README.md").display());
    Ok(())
}

/// B0 always runs, because all others need its A/A spread.
fn wanted(options: &BenchOptions, one: &Benchmark) -> bool {
    options.only.is_empty() || one.id == "B0" || options.only.iter().any(|id| id == one.id)
}

fn start_message(chosen: &[&Benchmark], options: &BenchOptions) -> String {
    let ids: Vec<&str> = chosen.iter().map(|one| one.id).collect();
    let mut seconds: f64 = chosen.iter().map(|one| one.seconds).sum();
    if chosen.iter().any(|one| one.id == "B13") {
        seconds += options.minutes * 60.0;
    }
    let share = if options.quick { 0.3 } else { 1.0 };
    let minutes = (seconds * share / 60.0).max(0.5);
    format!(
        "Measures {} in network namespaces of its own, about {minutes:.1} minutes; results go to {}",
        ids.join(", "),
        options.out.display()
    )
}

/// Runs one benchmark. If it fails, it is reported as skipped with the reason, and the others still run.
fn measure(one: &Benchmark, suite: &mut Suite<'_>) -> Section {
    let (start, ticks) = (Instant::now(), Ticks::now());
    eprintln!("{} {} …", one.id, one.title);
    let mut section =
        (one.run)(suite).unwrap_or_else(|error| Section::skip(one.id, one.title, &format!("{error:#}")));
    one.id.clone_into(&mut section.id);
    one.title.clone_into(&mut section.title);
    section.seconds = start.elapsed().as_secs_f64();
    section.environment = Environment {
        steal: Ticks::now().steal_since(&ticks),
        aa_spread: 100.0 * suite.aa.max(suite.live_aa),
        quick: suite.options.quick,
        ..Environment::read()
    };
    section
}

fn save(out: &Path, section: &Section) -> Result<()> {
    let data = out.join("data");
    fs::create_dir_all(&data).with_context(|| format!("cannot create `{}`", data.display()))?;
    let path = data.join(format!("{}.json", section.id));
    // One line: a pretty-printed file has thousands, which says nothing in a diff.
    fs::write(&path, serde_json::to_string(section)? + "\n")
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// Writes the page and its plots from the stored results of all benchmarks: running one again leaves the
/// others.
pub fn write_page(out: &Path) -> Result<()> {
    let mut sections = Vec::new();
    for one in benchmarks::ALL {
        let path = out.join("data").join(format!("{}.json", one.id));
        if let Ok(text) = fs::read_to_string(&path) {
            sections.push(serde_json::from_str(&text).with_context(|| format!("`{}`", path.display()))?);
        }
    }
    let explained = fs::read_to_string(out.join("missed.md")).unwrap_or_default();
    fs::write(out.join("README.md"), report::page(&sections, &explained))?;
    for plot in sections.iter().flat_map(|section| &section.plots) {
        fs::write(out.join(format!("{}.svg", plot.name)), report::svg(plot))?;
    }
    Ok(())
}
