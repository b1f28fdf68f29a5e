//! Many changes under many packets: every packet meets the old rule or the new one.

use anyhow::Result;

use super::flips;
use crate::report::Section;
use crate::suite::Suite;
use crate::workload::Workload;

const FLIPS: u32 = 1000;

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let (flips, epoch) = (suite.scaled(FLIPS), suite.next_epoch());
    let stage = suite.stage()?;
    let found = flips::run(stage, Workload::new(&stage.v4(20), 100, epoch), flips)?;
    let neither = found.sent.saturating_sub(found.known);
    let mut section = Section::new("", "");
    section.fact("flips.wrong", (neither + found.late) as f64);
    section.keep("changed → first packet", "ms", &found.took);
    section.table(
        "rules changed under packets",
        &[
            "changes",
            "packets",
            "with the mark of a rule that was in force",
            "neither old nor new",
            "old after new",
        ],
        vec![vec![
            found.took.0.len().to_string(),
            found.sent.to_string(),
            found.known.to_string(),
            neither.to_string(),
            found.late.to_string(),
        ]],
    );
    section.note("Counted in the pod, so a packet that was lost counts as neither. A deliberately torn updater is a test, not a benchmark: `make test` runs it beside the real one.");
    Ok(section)
}
