//! Compares what gets in and out with what the stack lets through: the node's own stack is the oracle.
//!
//! Every case is sent to two nodes that differ in one thing: one has the agent, with rules that redirect
//! everything. What a pod's interface, a pod's socket or a wire receives of it on the agent's node, it must
//! receive on the other one, too. A case that differs is sent again alone, and made as ordinary as it can be
//! while it still differs.

mod case;
mod draft;
mod excluded;
mod generate;
mod host;
mod macs;
mod oddity;
mod report;
mod seen;
mod sentinel;
mod setting;
mod shrink;
mod site;
mod twins;
mod upper;

use std::collections::HashSet;

use self::{
    case::Case,
    site::Site,
    twins::{Numbered, Twins},
};
pub use self::{
    report::StackReport,
    setting::{StackSetting, StackedOn},
};
use crate::Random;

/// The cases whose frames have numbers at one time.
const PASS: usize = 15_000;

impl StackSetting {
    /// Compares the two nodes by this many distinct cases. Returns `None` if the kernel has no interfaces of
    /// the type that the setting needs.
    pub fn compare(self, seed: u64, cases: usize) -> anyhow::Result<Option<StackReport>> {
        let (Some(with), Some(without)) = (Site::new(self)?, Site::new(self)?) else {
            return Ok(None);
        };
        let _agent = with.start()?;
        let twins = Twins::new(&with, &without);
        twins.warm_up()?;
        let mut report = StackReport::default();
        for cases in distinct(self.name, seed, cases).chunks(PASS) {
            twins.begin();
            let cases: Vec<Numbered> = cases.iter().map(|case| twins.number(case.clone())).collect();
            let both = twins.send_both(&cases)?;
            report.compared(cases.len(), &both);
            for suspect in Twins::suspects(&cases, &both) {
                report.judge(&twins, suspect, &both[0])?;
            }
        }
        Ok(Some(report))
    }
}

fn distinct(name: &str, seed: u64, wanted: usize) -> Vec<Case> {
    let mut random = Random::new(seed, name);
    let mut earlier = HashSet::new();
    let mut cases = Vec::new();
    while cases.len() < wanted {
        let case = generate::case(&mut random);
        if earlier.insert(case.clone()) {
            cases.push(case);
        }
    }
    cases
}
