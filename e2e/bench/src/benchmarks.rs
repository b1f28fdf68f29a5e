//! The benchmarks, one file each.

mod b00_environment;
mod b02_scaling;
mod b03_delivery;
mod b04_rivals;
mod b05_attack;
mod live;

use anyhow::Result;

use crate::report::Section;
use crate::suite::Suite;

/// One of them.
pub struct Benchmark {
    /// `B2`.
    pub id: &'static str,
    /// What it measures.
    pub title: &'static str,
    /// How long it takes, about.
    pub seconds: f64,
    /// Measures.
    pub run: fn(&mut Suite<'_>) -> Result<Section>,
}

const fn one(
    id: &'static str,
    title: &'static str,
    seconds: f64,
    run: fn(&mut Suite<'_>) -> Result<Section>,
) -> Benchmark {
    Benchmark {
        id,
        title,
        seconds,
        run,
    }
}

/// All, in their order.
pub const ALL: &[Benchmark] = &[
    one("B0", "the machine, and a program against itself", 5.0, b00_environment::run),
    one("B2", "the classifier as rules grow", 90.0, b02_scaling::run),
    one("B3", "live packets into pods", 40.0, b03_delivery::run),
    one("B4", "beside the kernel's own ways", 40.0, b04_rivals::run),
    one("B5", "under attack", 20.0, b05_attack::run),
];
