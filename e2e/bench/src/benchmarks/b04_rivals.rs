//! End to end into an ordinary pod: ours beside what the kernel offers, same injector, same receiver.

use anyhow::Result;

use super::{
    b03_delivery::ready,
    filter::Filter,
    live::{Found, Way, contest},
};
use crate::{
    instruments::{Instruments, Set},
    report::{Section, number, ratio, spread},
    stage::{Sinks, Stage},
    suite::Suite,
    sys::Hook,
    workload::{Class, Workload},
};

const ONE: Set = Set(0);
/// To the pod with `delivery: Peer`.
const PEER: Set = Set(3);
const PACKETS: u32 = 150_000;

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let (rounds, packets, epoch, aa) = (
        suite.rounds(),
        suite.scaled(PACKETS),
        suite.next_epoch(),
        suite.live_aa,
    );
    let stage = suite.stage()?;
    let mut workload = Workload::new(&stage.v4(110), 100, epoch);
    workload.targets[1].peer = true;
    let mut instruments = ready(stage, &workload)?;
    let flows = workload
        .only(1..2)
        .flows(Class::Allow, 4096, 1, false)
        .unwrap_or_default();
    let frames = stage.frames(&workload, &flows)?;
    instruments.set_frames(PEER, &frames)?;
    let _sinks = Sinks::attach(&instruments, "sink", Hook::TcxIngress, &stage.pods[..2])?;
    let ways = ways(stage, &instruments, packets)?;
    let found = contest(stage, &mut instruments, &ways, rounds)?;
    Ok(section(&found, aa))
}

fn ways(stage: &Stage<'_>, instruments: &Instruments, packets: u32) -> Result<Vec<Way>> {
    let pass = || instruments.program("pass_all");
    let way = |name: &str, program, share| Way::new(name, program, ONE, packets / share);
    Ok(vec![
        way(
            "two-instruction drop (arrives nowhere)",
            instruments.program("drop_all")?,
            1,
        ),
        way(
            "two-instruction redirect",
            instruments.program("redirect_one")?,
            1,
        ),
        way("ours, delivery: Redirect", stage.product()?, 1),
        Way {
            set: PEER,
            ..way("ours, delivery: Peer", stage.product()?, 1)
        },
        way("tc bpf_redirect_peer, nothing else", pass()?, 1).hop(),
        way("ip_forward", pass()?, 1).plain(Filter::Empty),
        way("ip_forward, 100 iptables rules", pass()?, 3).plain(Filter::Iptables(100)),
        way("ip_forward, 1,000 iptables rules", pass()?, 15).plain(Filter::Iptables(1000)),
        way("ip_forward, nft set of 1,000 ranges", pass()?, 1).plain(Filter::NftSet(1000)),
    ])
}

fn section(found: &[Found], aa: f64) -> Section {
    let mut section = Section::new("", "");
    let ours = &found[2];
    let mut rows = Vec::new();
    for one in found {
        let times = one.delivered.ratio(&ours.delivered).median();
        section.keep(one.name.clone(), "ns per packet sent", &one.sent);
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
        "into one ordinary pod (GRO, skb, tc takes it); ours decides by 11,000 rules",
        &[
            "way",
            "ns per packet that arrived",
            "arrived",
            "against ours (Redirect)",
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
    section.note(format!("iptables is the nf_tables variant; no rule matches, and connections are not tracked. The nft set is the kernel's best for ranges in two fields: {nft}× ours."));
    section.note("xdp-filter and the ingress-node-firewall: SKIP, their object files are not here and fetching them is no part of a run.");
    section.note("Generic: live frames enter behind the driver, so what a NIC's driver costs is in no row.");
    section
}
