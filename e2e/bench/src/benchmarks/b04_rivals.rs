//! End to end into an ordinary pod: the product compared with the kernel's paths, with the same injector and
//! receiver.

use anyhow::Result;
use xdp_lab::bpf::BpfAttachType;

use super::{
    b03_delivery::ready,
    filter::Filter,
    live::{LiveResult, Variant, contest},
};
use crate::{
    instruments::{FrameSet, Instruments},
    report::{Section, number, ratio, spread},
    suite::{LiveParameters, Suite},
    testbed::{Receivers, Testbed},
    workload::FlowClass,
};

const ONE: FrameSet = FrameSet(0);
/// Flows to the pod with `delivery: Peer`.
const PEER: FrameSet = FrameSet(3);
const PACKETS: u32 = 150_000;

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let LiveParameters {
        passes,
        packets,
        epoch,
        aa,
    } = suite.live_parameters(PACKETS);
    let testbed = suite.testbed()?;
    let mut workload = testbed.full_workload(epoch);
    workload.targets[1].peer = true;
    let mut instruments = ready(testbed, &workload)?;
    let flows = workload
        .only(1..2)
        .flows(FlowClass::Allow, 4096, 1, false)
        .unwrap_or_default();
    let frames = testbed.frames(&workload, &flows)?;
    instruments.set_frames(PEER, &frames)?;
    let _receivers = Receivers::attach(
        &instruments,
        "sink",
        BpfAttachType::TcxIngress,
        &testbed.pods[..2],
    )?;
    let variants = variants(testbed, &instruments, packets)?;
    let found = contest(testbed, &mut instruments, &variants, passes)?;
    Ok(section(&found, aa))
}

fn variants(testbed: &Testbed<'_>, instruments: &Instruments, packets: u32) -> Result<Vec<Variant>> {
    let pass = || instruments.program("pass_all");
    let variant = |name: &str, program, share| Variant::new(name, program, ONE, packets / share);
    Ok(vec![
        variant(
            "two-instruction drop (not delivered)",
            instruments.program("drop_all")?,
            1,
        ),
        variant(
            "two-instruction redirect",
            instruments.program("redirect_one")?,
            1,
        ),
        variant("xdp-operator, delivery: Redirect", testbed.product()?, 1),
        Variant {
            set: PEER,
            ..variant("xdp-operator, delivery: Peer", testbed.product()?, 1)
        },
        variant("tc bpf_redirect_peer only", pass()?, 1).hop(),
        variant("ip_forward", pass()?, 1).plain(Filter::Empty),
        variant("ip_forward, 100 iptables rules", pass()?, 3).plain(Filter::Iptables(100)),
        variant("ip_forward, 1,000 iptables rules", pass()?, 15).plain(Filter::Iptables(1000)),
        variant("ip_forward, nft set of 1,000 ranges", pass()?, 1).plain(Filter::NftSet(1000)),
    ])
}

fn section(found: &[LiveResult], aa: f64) -> Section {
    let mut section = Section::new("", "");
    let product = &found[2];
    let mut rows = Vec::new();
    for one in found {
        let times = one.delivered.ratio(&product.delivered).median();
        section.add_trials(one.name.clone(), "ns per packet sent", &one.sent);
        rows.push(vec![
            one.name.clone(),
            spread(&one.delivered),
            format!("{} of {}", one.total.received, one.total.sent),
            if times.is_finite() {
                ratio(times, aa)
            } else {
                String::new()
            },
        ]);
        let rules = match one.name.as_str() {
            "ip_forward" => "0",
            "ip_forward, 100 iptables rules" => "100",
            "ip_forward, 1,000 iptables rules" => "1000",
            "ip_forward, nft set of 1,000 ranges" => "nft",
            _ => continue,
        };
        section.fact(format!("forward.{rules}"), times);
        let with_peer = one.delivered.ratio(&found[3].delivered).median();
        section.fact(format!("forward.peer.{rules}"), with_peer);
    }
    section.table(
        "into one ordinary pod (GRO, skb, a tc program consumes the packets); xdp-operator has 11,000 rules",
        &[
            "path",
            "ns per packet that arrived",
            "arrived",
            "relative to xdp-operator (Redirect)",
        ],
        rows,
    );
    let arriving = found.iter().filter(|one| one.delivered.median().is_finite());
    section.bars(
        "rivals",
        "ns per packet that arrived in an ordinary pod",
        "ns",
        arriving.map(|one| (one.name.clone(), one.delivered.median())),
    );
    let nft = number(section.facts.get("forward.nft").copied().unwrap_or(f64::NAN));
    section.note(format!("iptables is the nf_tables variant; no rule matches, and connections are not tracked. An nft set is the kernel's fastest lookup for ranges in two fields: {nft}× the time of xdp-operator."));
    section.note("xdp-filter and the ingress-node-firewall are skipped, because their object files are not part of this repository.");
    section
        .note("Live frames enter the stack after the driver, so no row includes the cost of a NIC driver.");
    section
}
