//! Under attack: 99 of 100 packets are denied.

use anyhow::{Context as _, Result};
use xdp_lab::bpf::BpfAttachType;

use super::{
    b03_delivery::ready,
    filter::Filter,
    live::{LiveResult, Variant, contest},
};
use crate::{
    instruments::{FrameSet, Instruments},
    report::{Section, number, ratio, spread},
    shared::FrameBytes,
    suite::{LiveParameters, Suite},
    testbed::{Receivers, Testbed},
    workload::{FlowClass, Workload},
};

const ATTACK: FrameSet = FrameSet(4);
const PACKETS: u32 = 300_000;

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let LiveParameters {
        passes,
        packets,
        epoch,
        aa,
    } = suite.live_parameters(PACKETS);
    let testbed = suite.testbed()?;
    let workload = testbed.full_workload(epoch);
    let mut instruments = ready(testbed, &workload)?;
    instruments.set_frames(ATTACK, &attack(testbed, &workload)?)?;
    let _receivers = Receivers::attach(&instruments, "sink", BpfAttachType::TcxIngress, &testbed.pods)?;
    let variants = variants(testbed, &instruments, packets)?;
    let found = contest(testbed, &mut instruments, &variants, passes)?;
    Ok(section(&found, aa))
}

/// Returns frames of which one in a hundred is redirected by a rule, and the others are dropped.
fn attack(testbed: &Testbed<'_>, workload: &Workload) -> Result<Vec<FrameBytes>> {
    let denied = workload
        .flows(FlowClass::Drop, 4096, 16, false)
        .context("no flows to drop")?;
    let allowed = workload
        .flows(FlowClass::Allow, 4096, 1, false)
        .context("no flows to redirect")?;
    let mixed = denied.iter().zip(&allowed).enumerate();
    Ok(mixed
        .map(|(index, (bad, good))| testbed.frame(workload, if index % 100 == 99 { good } else { bad }))
        .collect())
}

fn variants(testbed: &Testbed<'_>, instruments: &Instruments, packets: u32) -> Result<Vec<Variant>> {
    let variant = |name: &str, program, share| Variant::new(name, program, ATTACK, packets / share);
    let pass = || instruments.program("pass_all");
    Ok(vec![
        variant(
            "two-instruction drop (everything)",
            instruments.program("drop_all")?,
            1,
        ),
        variant("xdp-operator, 11,000 rules", testbed.product()?, 1),
        variant("linear, 100 rules a pod", instruments.program("linear")?, 1),
        variant("two LPM tries, 11,000 rules", instruments.program("two_lpm")?, 1),
        variant("nft ingress, one rule: drop (everything)", pass()?, 2).plain(Filter::IngressDrop),
        variant("iptables raw, one rule: drop (everything)", pass()?, 2).plain(Filter::RawDrop),
    ])
}

fn section(found: &[LiveResult], aa: f64) -> Section {
    let mut section = Section::new("", "");
    let product = &found[1].sent;
    let mut rows = Vec::new();
    for one in found {
        section.add_trials(one.name.clone(), "ns per packet", &one.sent);
        rows.push(vec![
            one.name.clone(),
            spread(&one.sent),
            format!("{} M", number(1e3 / one.sent.median())),
            one.total.received.to_string(),
            ratio(one.sent.ratio(product).median(), aa),
        ]);
    }
    section.fact("attack.mpps", 1e3 / product.median());
    section.fact("attack.raw", found[5].sent.ratio(product).median());
    section.table(
        "99 % denied, 1 % redirected into 110 pods; one CPU",
        &[
            "path",
            "ns per packet",
            "packets/s",
            "allowed packets that arrived",
            "relative to xdp-operator",
        ],
        rows,
    );
    section.note("The netfilter rows drop everything with a single rule: they show the upper limit of netfilter, not a policy.");
    section
}
