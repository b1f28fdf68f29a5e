//! The benchmarks, one file each.

mod b00_environment;
mod b01_micro;
mod b02_scaling;
mod b03_delivery;
mod b04_rivals;
mod b05_attack;
mod b06_compile;
mod b07_change;
mod b08_flips;
mod b09_scale;
mod b10_memory;
mod b11_gates;
mod b12_limiter;
mod b13_soak;
mod b14_reply_path;
mod b15_own_connections;
mod clients;
mod filter;
mod flips;
mod live;
mod scale;
mod without;

use anyhow::Result;

use crate::{report::Section, suite::Suite};

/// A benchmark.
pub struct Benchmark {
    /// Its id, such as `B2`.
    pub id: &'static str,
    /// Subject of the measurement.
    pub title: &'static str,
    /// Approximate duration in seconds.
    pub seconds: f64,
    /// Runs the measurement.
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

/// All benchmarks, in their order.
pub const ALL: &[Benchmark] = &[
    one(
        "B0",
        "the machine, and a program compared with itself",
        5.0,
        b00_environment::run,
    ),
    one("B1", "maps and helpers", 10.0, b01_micro::run),
    one(
        "B2",
        "the classifier as the number of rules grows",
        90.0,
        b02_scaling::run,
    ),
    one("B3", "live packets into pods", 40.0, b03_delivery::run),
    one(
        "B4",
        "compared with the kernel's own paths",
        40.0,
        b04_rivals::run,
    ),
    one("B5", "under attack", 20.0, b05_attack::run),
    one("B6", "from manifests to verdicts", 30.0, b06_compile::run),
    one("B7", "changed rule to first packet", 5.0, b07_change::run),
    one("B8", "changes under traffic", 20.0, b08_flips::run),
    one("B9", "many nodes", 180.0, b09_scale::run),
    one("B10", "memory, and the agent's CPU time", 30.0, b10_memory::run),
    one("B11", "program sizes and verification cost", 5.0, b11_gates::run),
    one("B12", "rate limits", 20.0, b12_limiter::run),
    one("B13", "soak", 10.0, b13_soak::run),
    one("B14", "the reply path", 60.0, b14_reply_path::run),
    one(
        "B15",
        "dropped packets, and the connections of pods",
        15.0,
        b15_own_connections::run,
    ),
    one("CLIENTS", "real clients", 120.0, clients::run),
    one("SCALE", "the control plane at 5,000 nodes", 900.0, scale::run),
];
