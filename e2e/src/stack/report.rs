//! Differences, by class.

use std::fmt;

use super::{
    case::Case,
    excluded::{reasons, without_excluded},
    oddity::frames,
    seen::{Observations, Seen},
    shrink::{explains, shrink},
    twins::{Both, Numbered, Twins},
};

/// Differences beyond these are only counted.
const CLASSES: usize = 60;

/// What a comparison found.
#[derive(Debug, Default)]
pub struct StackReport {
    cases: usize,
    /// Frames that were seen with the agent, and without.
    seen: [usize; 2],
    classes: Vec<Class>,
    /// Differences that no class explains.
    others: usize,
    /// Cases that may differ.
    excluded: usize,
}

/// Cases that differ for one reason.
#[derive(Debug)]
struct Class {
    smallest: Case,
    seen: Vec<Seen>,
    cases: usize,
}

impl StackReport {
    /// Notes how much was compared.
    pub(super) fn compared(&mut self, cases: usize, both: &Both) {
        self.cases += cases;
        for (count, seen) in self.seen.iter_mut().zip(both) {
            *count += seen.len();
        }
    }

    /// Whether there are no differences.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty() && self.others == 0
    }

    /// Sends a suspect again. If it still differs, finds its class.
    pub(super) fn judge(
        &mut self,
        twins: &Twins<'_>,
        suspect: &Numbered,
        with: &Observations,
    ) -> anyhow::Result<()> {
        let difference = twins.confirm(suspect, with)?;
        if difference.is_empty() {
            return Ok(());
        }
        let case = without_excluded(&suspect.case);
        if case != suspect.case && twins.differs(&case)?.is_empty() {
            self.excluded += 1;
            return Ok(());
        }
        self.classify(twins, &case, difference)
    }

    fn classify(&mut self, twins: &Twins<'_>, case: &Case, difference: Vec<Seen>) -> anyhow::Result<()> {
        let known = |class: &&mut Class| explains(&class.smallest, case);
        if let Some(class) = self.classes.iter_mut().find(known) {
            class.cases += 1;
            return Ok(());
        }
        if self.classes.len() == CLASSES {
            self.others += 1;
            return Ok(());
        }
        let mut seen = difference;
        let smallest = shrink(case, |case| {
            let differs = twins.differs(case)?;
            let is_different = !differs.is_empty();
            if is_different {
                seen = differs;
            }
            anyhow::Ok(is_different)
        })?;
        self.classes.push(Class {
            smallest,
            seen,
            cases: 1,
        });
        Ok(())
    }
}

impl fmt::Display for StackReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [with, without] = self.seen;
        writeln!(
            formatter,
            "{} cases; {with} frames seen with the agent, {without} without; {} classes of differences",
            self.cases,
            self.classes.len()
        )?;
        for class in &self.classes {
            writeln!(formatter, "{} × {}", class.cases, class.smallest.class())?;
            for seen in &class.seen {
                writeln!(formatter, "    only with the agent: {seen:?}")?;
            }
            for frame in frames(&class.smallest, 4000, 1) {
                writeln!(formatter, "    frame {}", hex(&frame))?;
            }
        }
        if self.excluded > 0 {
            writeln!(
                formatter,
                "{} cases differ for one of these reasons:",
                self.excluded
            )?;
            for reason in reasons() {
                writeln!(formatter, "- {reason}")?;
            }
        }
        if self.others > 0 {
            writeln!(formatter, "{} more", self.others)?;
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}
