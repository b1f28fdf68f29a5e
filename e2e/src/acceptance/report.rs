//! The outcome: checks and measured facts.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The report of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcceptanceReport {
    /// What was tested: kernel, driver, firmware, versions.
    pub subject: BTreeMap<String, String>,
    /// The checks, in the order in which they ran.
    pub checks: Vec<Check>,
    /// What was measured.
    pub facts: BTreeMap<String, Value>,
}

/// A check and its outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The fact, as a sentence.
    pub name: String,
    /// The outcome.
    pub outcome: Outcome,
    /// The time it took.
    pub seconds: f64,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The fact holds.
    Passed,
    /// It does not, or could not be checked, with the reason.
    Failed(String),
    /// It has no meaning for this NIC, kernel or peer, with the reason.
    NotApplicable(String),
}

impl AcceptanceReport {
    /// Says that the run was today. The clock of a virtual machine may not know.
    pub fn set_date(&mut self) {
        let today = jiff::Timestamp::now().strftime("%F").to_string();
        self.subject.insert("date".to_owned(), today);
    }

    /// Returns the checks that failed.
    pub fn failed(&self) -> Vec<&Check> {
        let failed = |check: &&Check| matches!(check.outcome, Outcome::Failed(_));
        self.checks.iter().filter(failed).collect()
    }

    /// Returns the outcome of the check with this name.
    pub fn outcome(&self, name: &str) -> Option<&Outcome> {
        self.checks
            .iter()
            .find(|check| check.name == name)
            .map(|check| &check.outcome)
    }
}

impl Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, why) = match &self.outcome {
            Outcome::Passed => ("passed", None),
            Outcome::Failed(why) => ("FAILED", Some(why)),
            Outcome::NotApplicable(why) => ("n/a   ", Some(why)),
        };
        write!(formatter, "{word} {:6.1} s  {}", self.seconds, self.name)?;
        match why {
            Some(why) => write!(formatter, ": {why}"),
            None => Ok(()),
        }
    }
}

impl Display for AcceptanceReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.subject {
            writeln!(formatter, "{key}: {value}")?;
        }
        writeln!(formatter)?;
        for check in &self.checks {
            writeln!(formatter, "{check}")?;
        }
        writeln!(formatter)?;
        for (key, value) in &self.facts {
            writeln!(formatter, "{key}: {value}")?;
        }
        let failed = self.failed().len();
        writeln!(formatter, "\n{} checks, {failed} failed", self.checks.len())
    }
}
