//! Changed manifest → first packet with the new verdict, the injector running.

use anyhow::Result;

use super::{
    b06_compile::change_one,
    flips::{
        Course, {self},
    },
};
use crate::{
    instruments::Instruments,
    report::{Section, number},
    stage::Sinks,
    suite::Suite,
    sys::Hook,
    workload::Workload,
};

const CHANGES: u32 = 100;

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let (changes, epoch) = (suite.scaled(CHANGES), suite.next_epoch());
    let stage = suite.stage()?;
    let mut workload = Workload::new(&stage.v4(110), 100, epoch);
    change_one(&mut workload, 0, 1);
    stage.install(&workload)?;
    let stage = &*stage;
    let mut instruments = Instruments::load(false)?;
    let _sinks = Sinks::attach(&instruments, "watch", Hook::TcxIngress, &stage.pods[..1])?;
    let frame = stage.frame(&workload, &workload.probe(0));
    let course = Course {
        pods: 1,
        rounds: changes,
        packets: 0,
    };
    let found = flips::run(stage, &mut instruments, &[frame], &course, |_, mark| {
        change_one(&mut workload, 0, mark);
        stage.write(&workload, 0)
    })?;
    let mut section = Section::new("", "");
    section.keep("changed → first packet", "ms", &found.took);
    section.fact("event.p50", found.took.median());
    section.fact("event.p99", found.took.quantile(0.99));
    section.table(
        "manifest renamed into place → first packet in the pod by the new rule, ms",
        &["changes", "p50", "p99", "maximum", "packets meanwhile"],
        vec![vec![
            found.took.0.len().to_string(),
            number(found.took.median()),
            number(found.took.quantile(0.99)),
            number(found.took.max()),
            found.sent.to_string(),
        ]],
    );
    section.note("11,000 rules on the node, 100 in the file that changes. The injector keeps one of the CPUs busy: the agent has the rest.");
    Ok(section)
}
