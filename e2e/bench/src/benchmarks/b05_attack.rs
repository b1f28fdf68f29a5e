//! Under attack: 99 of 100 packets are denied.

use anyhow::{Context as _, Result};

use super::{
    b03_delivery::ready,
    filter::Filter,
    live::{Found, Way, contest},
};
use crate::{
    instruments::{Instruments, Set},
    report::{Section, number, ratio, spread},
    shared::Bytes,
    stage::{Sinks, Stage},
    suite::Suite,
    sys::Hook,
    workload::{Class, Workload},
};

const ATTACK: Set = Set(4);
const PACKETS: u32 = 300_000;

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let (rounds, packets, epoch, aa) = (
        suite.rounds(),
        suite.scaled(PACKETS),
        suite.next_epoch(),
        suite.live_aa,
    );
    let stage = suite.stage()?;
    let workload = Workload::new(&stage.v4(110), 100, epoch);
    let mut instruments = ready(stage, &workload)?;
    instruments.set_frames(ATTACK, &attack(stage, &workload)?)?;
    let _sinks = Sinks::attach(&instruments, "sink", Hook::TcxIngress, &stage.pods)?;
    let ways = ways(stage, &instruments, packets)?;
    let found = contest(stage, &mut instruments, &ways, rounds)?;
    Ok(section(&found, aa))
}

/// Of a hundred frames, the last is one that a rule redirects.
fn attack(stage: &Stage<'_>, workload: &Workload) -> Result<Vec<Bytes>> {
    let denied = workload
        .flows(Class::Drop, 4096, 16, false)
        .context("no flows to drop")?;
    let honest = workload
        .flows(Class::Allow, 4096, 1, false)
        .context("no flows to redirect")?;
    let mixed = denied.iter().zip(&honest).enumerate();
    Ok(mixed
        .map(|(place, (bad, good))| stage.frame(workload, if place % 100 == 99 { good } else { bad }))
        .collect())
}

fn ways(stage: &Stage<'_>, instruments: &Instruments, packets: u32) -> Result<Vec<Way>> {
    let way = |name: &str, program, share| Way::new(name, program, ATTACK, packets / share);
    let pass = || instruments.program("pass_all");
    Ok(vec![
        way(
            "two-instruction drop (everything)",
            instruments.program("drop_all")?,
            1,
        ),
        way("ours, 11,000 rules", stage.product()?, 1),
        way("linear, 100 rules a pod", instruments.program("linear")?, 1),
        way("two LPM tries, 11,000 rules", instruments.program("two_lpm")?, 1),
        way("nft ingress, one rule: drop (everything)", pass()?, 2).plain(Filter::IngressDrop),
        way("iptables raw, one rule: drop (everything)", pass()?, 2).plain(Filter::RawDrop),
    ])
}

fn section(found: &[Found], aa: f64) -> Section {
    let mut section = Section::new("", "");
    let ours = &found[1].sent;
    let mut rows = Vec::new();
    for one in found {
        section.keep(one.name.clone(), "ns per packet", &one.sent);
        rows.push(vec![
            one.name.clone(),
            spread(&one.sent),
            format!("{} M", number(1e3 / one.sent.median())),
            one.total.received.to_string(),
            ratio(one.sent.ratio(ours).median(), aa),
        ]);
    }
    section.fact("attack.mpps", 1e3 / ours.median());
    section.fact("attack.raw", found[5].sent.ratio(ours).median());
    section.table(
        "99 % denied, 1 % redirected into 110 pods; one CPU",
        &[
            "way",
            "ns per packet",
            "packets/s",
            "honest packets that arrived",
            "against ours",
        ],
        rows,
    );
    section.note("The netfilter rows drop everything with a single rule: they are netfilter's own ceiling, not a policy.");
    section
}
