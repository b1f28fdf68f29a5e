//! Results of benchmarks, and their presentation.

mod page;
mod plot;
mod table;
mod targets;

use std::collections::BTreeMap;

pub use page::page;
pub use plot::svg;
use serde::{Deserialize, Serialize};
pub use targets::{TargetResult, evaluate, targets_table};

use crate::{
    environment::Environment,
    stats::{Samples, differs},
};

/// Results of one benchmark.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Section {
    /// Id of the benchmark, such as `B2`.
    pub id: String,
    /// Title of the benchmark.
    pub title: String,
    /// Reason, if the benchmark was skipped.
    pub skipped: Option<String>,
    /// Notes that explain the numbers.
    pub notes: Vec<String>,
    /// Tables for the page.
    pub tables: Vec<ReportTable>,
    /// Plots for the page.
    pub plots: Vec<Plot>,
    /// Values for the targets, by name.
    pub facts: BTreeMap<String, f64>,
    /// All trials.
    pub samples: Vec<Trials>,
    /// Duration in seconds.
    pub seconds: f64,
    /// The machine on which it ran.
    pub environment: Environment,
}

/// A table with a title.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReportTable {
    /// Title of the table.
    pub title: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, with one cell for each column.
    pub rows: Vec<Vec<String>>,
}

/// Lines over a logarithmic axis, or bars.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plot {
    /// Name of the file.
    pub name: String,
    /// Title of the plot.
    pub title: String,
    /// Label of the horizontal axis; empty for bars.
    pub x: String,
    /// Label of the vertical axis.
    pub y: String,
    /// Lines or bars.
    pub series: Vec<Series>,
}

/// One line, or one bar with a single point.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Series {
    /// Label.
    pub name: String,
    /// Points of the line.
    pub points: Vec<(f64, f64)>,
}

/// All trials of one contestant.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Trials {
    /// Label of the contestant.
    pub name: String,
    /// Unit of the values.
    pub unit: String,
    /// Values in the order of the trials.
    pub values: Vec<f64>,
}

impl Section {
    /// Returns an empty section.
    pub fn new(id: &str, title: &str) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            ..Self::default()
        }
    }

    /// Returns a section of a skipped benchmark.
    pub fn skip(id: &str, title: &str, reason: &str) -> Self {
        Self {
            skipped: Some(reason.to_owned()),
            ..Self::new(id, title)
        }
    }

    /// Returns the id and the time of the run.
    fn run(&self) -> String {
        format!("{}, {}", self.id, self.environment.when)
    }

    /// Adds a note.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Adds a value for the targets, unless it is not finite, which means not measured.
    pub fn fact(&mut self, name: impl Into<String>, value: f64) {
        if value.is_finite() {
            self.facts.insert(name.into(), value);
        }
    }

    /// Adds all trials of a contestant.
    pub fn add_trials(&mut self, name: impl Into<String>, unit: &str, samples: &Samples) {
        self.samples.push(Trials {
            name: name.into(),
            unit: unit.to_owned(),
            // JSON has finite numbers only.
            values: samples
                .0
                .iter()
                .copied()
                .filter(|value| value.is_finite())
                .collect(),
        });
    }

    /// Adds a plot with bars.
    pub fn bars(&mut self, name: &str, title: &str, unit: &str, bars: impl Iterator<Item = (String, f64)>) {
        self.plots.push(Plot {
            name: name.to_owned(),
            title: title.to_owned(),
            x: String::new(),
            y: unit.to_owned(),
            series: bars
                .map(|(name, height)| Series {
                    name,
                    points: vec![(0.0, height)],
                })
                .collect(),
        });
    }

    /// Adds a table.
    pub fn table(&mut self, title: &str, columns: &[&str], rows: Vec<Vec<String>>) {
        self.tables.push(ReportTable {
            title: title.to_owned(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows,
        });
    }
}

/// Formats `min / median / max`.
pub fn spread(samples: &Samples) -> String {
    if !samples.median().is_finite() {
        return "–".to_owned();
    }
    let [min, median, max] = [samples.min(), samples.median(), samples.max()].map(number);
    format!("{min} / {median} / {max}")
}

/// Formats a number with its significant digits.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100_000.0 => grouped(value.round() as i64),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Formats a ratio, or states that there is no difference.
pub fn ratio(value: f64, aa_spread: f64) -> String {
    if (value - 1.0).abs() < f64::EPSILON {
        "1".to_owned()
    } else if differs(value, aa_spread) {
        format!("{value:.2}×")
    } else {
        format!("no difference ({value:.2}×)")
    }
}

fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_significant_digits() {
        let shown = [0.0123, 0.5, 12.34, 123.4, 12_345.6, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.0123", "0.50", "12.3", "123", "12346", "1,234,567"]);
    }

    #[test]
    fn a_ratio_below_twice_the_spread_is_no_difference() {
        assert_eq!(ratio(1.05, 0.03), "no difference (1.05×)");
        assert_eq!(ratio(1.5, 0.03), "1.50×");
    }
}
