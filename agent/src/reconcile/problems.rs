//! What is wrong, told once.

use std::collections::BTreeSet;

use tracing::{info, warn};
use xdp_plan::report::Problem;

/// The problems the log was told about.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeSet<Problem>);

impl Told {
    /// Logs what is new and what is gone. Returns whether there was either.
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
