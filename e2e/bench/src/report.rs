//! What a benchmark found, and how it is shown.

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

/// One benchmark's results.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Section {
    /// `B2`.
    pub id: String,
    /// What was measured.
    pub title: String,
    /// Why it was not.
    pub skipped: Option<String>,
    /// What must be known to read the numbers.
    pub notes: Vec<String>,
    /// For people.
    pub tables: Vec<ReportTable>,
    /// For people.
    pub plots: Vec<Plot>,
    /// For targets.
    pub facts: BTreeMap<String, f64>,
    /// Every trial.
    pub samples: Vec<Trials>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Where it ran.
    pub environment: Environment,
}

/// Rows under a heading.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReportTable {
    /// What it shows.
    pub title: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// As many cells each.
    pub rows: Vec<Vec<String>>,
}

/// Lines over a logarithmic axis, or bars where there is nothing to go along.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plot {
    /// Name of the file.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// What runs to the right; empty: bars.
    pub x: String,
    /// What is measured.
    pub y: String,
    /// What is compared.
    pub series: Vec<Series>,
}

/// One line, or one bar with a single point.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Where it goes.
    pub points: Vec<(f64, f64)>,
}

/// The trials of one contestant.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Trials {
    /// Which.
    pub name: String,
    /// Of what.
    pub unit: String,
    /// In their order.
    pub values: Vec<f64>,
}

impl Section {
    /// An empty one.
    pub fn new(id: &str, title: &str) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            ..Self::default()
        }
    }

    /// One that could not run.
    pub fn skip(id: &str, title: &str, reason: &str) -> Self {
        Self {
            skipped: Some(reason.to_owned()),
            ..Self::new(id, title)
        }
    }

    /// Which benchmark, and when.
    fn run(&self) -> String {
        format!("{}, {}", self.id, self.environment.when)
    }

    /// A sentence for the reader.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// A number for the targets. What is not a number was not measured.
    pub fn fact(&mut self, name: impl Into<String>, value: f64) {
        if value.is_finite() {
            self.facts.insert(name.into(), value);
        }
    }

    /// Keeps the trials.
    pub fn add_trials(&mut self, name: impl Into<String>, unit: &str, samples: &Samples) {
        self.samples.push(Trials {
            name: name.into(),
            unit: unit.to_owned(),
            // JSON has no others.
            values: samples
                .0
                .iter()
                .copied()
                .filter(|value| value.is_finite())
                .collect(),
        });
    }

    /// One bar for each.
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

    /// One table more.
    pub fn table(&mut self, title: &str, columns: &[&str], rows: Vec<Vec<String>>) {
        self.tables.push(ReportTable {
            title: title.to_owned(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows,
        });
    }
}

/// `min / median / max`.
pub fn spread(samples: &Samples) -> String {
    if !samples.median().is_finite() {
        return "–".to_owned();
    }
    let [min, median, max] = [samples.min(), samples.median(), samples.max()].map(number);
    format!("{min} / {median} / {max}")
}

/// As many digits as mean something.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100_000.0 => grouped(value.round() as i64),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// A ratio, or that there is no difference.
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
    fn numbers_have_as_many_digits_as_mean_something() {
        let shown = [0.0123, 0.5, 12.34, 123.4, 12_345.6, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.0123", "0.50", "12.3", "123", "12346", "1,234,567"]);
    }

    #[test]
    fn a_ratio_below_twice_the_spread_is_called_none() {
        assert_eq!(ratio(1.05, 0.03), "no difference (1.05×)");
        assert_eq!(ratio(1.5, 0.03), "1.50×");
    }
}
