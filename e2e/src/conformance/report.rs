//! The results of two runs.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// Whether each test passed, by its name. Tests that were not run are left out.
pub(super) struct Results(BTreeMap<String, bool>);

/// Both runs.
pub(super) struct Comparison {
    pub(super) alone: Results,
    pub(super) with_redirects: Results,
    /// Packets that were redirected in the second run.
    pub(super) redirected: u64,
}

impl Results {
    /// Reads a report of Ginkgo.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let report: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        let tests = report[0]["SpecReports"].as_array().context("no list of tests")?;
        let result = |test: &Value| {
            let name = test["LeafNodeText"].as_str()?;
            let state = test["State"].as_str()?;
            let ran = test["LeafNodeType"] == "It" && state != "skipped" && state != "pending";
            ran.then(|| (name.to_owned(), state == "passed"))
        };
        Ok(Self(tests.iter().filter_map(result).collect()))
    }

    fn failed(&self) -> impl Iterator<Item = &str> {
        let failed = self.0.iter().filter(|(_, passed)| !**passed);
        failed.map(|(name, _)| name.as_str())
    }
}

impl Comparison {
    /// Fails unless both runs have the same results, and packets were redirected.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.alone.0.is_empty(), "no test was run");
        ensure!(
            self.alone.0 == self.with_redirects.0,
            "the results differ; see target/conformance"
        );
        ensure!(self.redirected > 0, "no packet was redirected");
        Ok(())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, results) in [
            ("engine alone", &self.alone),
            ("with redirects", &self.with_redirects),
        ] {
            let failed: Vec<&str> = results.failed().collect();
            writeln!(
                f,
                "{name}: {} of {} passed",
                results.0.len() - failed.len(),
                results.0.len()
            )?;
            for test in failed {
                writeln!(f, "  failed: {test}")?;
            }
        }
        write!(f, "redirected packets: {}", self.redirected)
    }
}
