//! Time from a changed manifest to the first packet with the new verdict, under traffic.

use anyhow::Result;
use xdp_lab::bpf::BpfAttachType;

use super::{
    b06_compile::change_one,
    flips::{self, ChangePlan},
};
use crate::{
    instruments::Instruments,
    report::{Section, number},
    suite::Suite,
    testbed::Receivers,
};

const CHANGES: u32 = 100;

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let (changes, epoch) = (suite.scaled(CHANGES), suite.next_epoch());
    let testbed = suite.testbed()?;
    let mut workload = testbed.full_workload(epoch);
    change_one(&mut workload, 0, 1);
    testbed.install(&workload)?;
    let testbed = &*testbed;
    let mut instruments = Instruments::load(false)?;
    let _receivers = Receivers::attach(
        &instruments,
        "watch",
        BpfAttachType::TcxIngress,
        &testbed.pods[..1],
    )?;
    let frame = testbed.frame(&workload, &workload.probe(0));
    let plan = ChangePlan {
        pods: 1,
        batches: changes,
        packets: 0,
    };
    let found = flips::run(testbed, &mut instruments, &[frame], &plan, |_, mark| {
        change_one(&mut workload, 0, mark);
        testbed.write(&workload, 0)
    })?;
    let mut section = Section::new("", "");
    section.add_trials("changed → first packet", "ms", &found.took);
    section.fact("event.p50", found.took.median());
    section.fact("event.p99", found.took.quantile(0.99));
    section.table(
        "manifest renamed into place → first packet with the new rule's mark in the pod, ms",
        &["changes", "p50", "p99", "maximum", "packets sent"],
        vec![vec![
            found.took.0.len().to_string(),
            number(found.took.median()),
            number(found.took.quantile(0.99)),
            number(found.took.max()),
            found.sent.to_string(),
        ]],
    );
    section.note("11,000 rules on the node, 100 in the file that changes. The injector occupies one CPU; the agent has the others.");
    Ok(section)
}
