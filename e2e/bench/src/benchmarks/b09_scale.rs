//! Not here.

use anyhow::Result;

use crate::report::Section;
use crate::suite::Suite;

#[expect(clippy::unnecessary_wraps, reason = "all benchmarks have this shape")]
pub(super) fn run(_: &mut Suite<'_>) -> Result<Section> {
    Ok(Section::skip(
        "",
        "",
        "needs an API server that counts requests of hundreds of simulated agents, and machines that hold them; two CPUs do not. `make e2e` shows on a real API server of two nodes that agents watch their own node's pods only",
    ))
}
