//! Logs every problem once: when it appears, and when it is gone.

use std::collections::BTreeSet;

use tracing::{info, warn};
use xdp_plan::report::Problem;

/// The problems that are in the log and not solved.
#[derive(Debug, Default)]
pub(super) struct ProblemLog(BTreeSet<Problem>);

impl ProblemLog {
    /// Logs new problems and those that are gone. Returns whether there are any of either.
    pub(super) fn update(&mut self, now: BTreeSet<Problem>) -> bool {
        for problem in now.difference(&self.0) {
            let Problem {
                object,
                reason,
                message,
                remedy,
            } = problem;
            warn!(%object, %reason, %message, %remedy, "problem");
        }
        for problem in self.0.difference(&now) {
            info!(object = %problem.object, reason = %problem.reason, "problem solved");
        }
        let changed = now != self.0;
        self.0 = now;
        changed
    }
}
