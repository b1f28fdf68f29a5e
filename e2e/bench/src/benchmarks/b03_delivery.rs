//! Live packets into real pods: what arrives, with which metadata, and at what cost beside the barest redirect.

use std::time::Instant;

use anyhow::Result;

use super::live::{Found, Way, contest};
use crate::{
    instruments::{Instruments, Set},
    report::{Plot, Section, Series, number, ratio, spread},
    stage::{Sinks, Stage},
    suite::Suite,
    sys::Hook,
    workload::{Class, Workload},
};

const PODS: usize = 110;
const RULES: usize = 100;
const PACKETS: u32 = 200_000;
/// Flows to one pod; to all, 16 packets to each in a row; of which all are dropped.
const ONE: Set = Set(0);
const MANY: Set = Set(1);
const DENIED: Set = Set(2);

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let (rounds, packets, epoch, aa) = (
        suite.rounds(),
        suite.scaled(PACKETS),
        suite.next_epoch(),
        suite.live_aa,
    );
    let stage = suite.stage()?;
    let mut section = Section::new("", "");
    let workload = Workload::new(&stage.v4(PODS), RULES, epoch);
    let mut instruments = ready(stage, &workload)?;
    let receivers = [
        (
            "xdp",
            "an XDP program in the pod takes them",
            "swallow",
            Hook::Xdp,
        ),
        (
            "skb",
            "ordinary pods: GRO, skb, tc takes them",
            "sink",
            Hook::TcxIngress,
        ),
    ];
    let (mut lost, mut expecting, mut right) = (0, 0, 0);
    for (short, long, program, hook) in receivers {
        let _sinks = Sinks::attach(&instruments, program, hook, &stage.pods)?;
        let ways = ways(stage, &instruments, packets)?;
        let found = contest(stage, &mut instruments, &ways, rounds)?;
        show(&mut section, short, long, &found, aa);
        for ours in found.iter().filter(|one| one.name.starts_with("ours, ")) {
            lost += ours.total.sent - ours.total.received;
            expecting += ours.total.expecting;
            right += ours.total.right;
        }
    }
    section.fact("live.lost", lost as f64);
    section.fact("live.right", 100.0 * right as f64 / expecting.max(1) as f64);
    section.note(format!("Ours, all trials: {lost} lost; metadata and mark right in {right} of {expecting} packets, compared in the pod with what the frame said its rule's mark is."));
    gro_off(stage, &mut instruments, packets, &mut section)?;
    Ok(section)
}

/// The workload in force, and all contestants with it.
pub(super) fn ready(stage: &mut Stage<'_>, workload: &Workload) -> Result<Instruments> {
    stage.install(workload)?;
    let mut instruments = Instruments::load(false)?;
    prepare(stage, &mut instruments, workload)?;
    Ok(instruments)
}

/// Frames, devices and the rivals' tables.
fn prepare(stage: &Stage<'_>, instruments: &mut Instruments, workload: &Workload) -> Result<()> {
    instruments.fill(workload, &stage.places())?;
    instruments.add_device(&stage.node, 0, stage.pods[0].host_ifindex)?;
    for (key, pod) in (1..).zip(&stage.pods) {
        instruments.add_device(&stage.node, key, pod.host_ifindex)?;
    }
    for (set, class, targets) in [
        (ONE, Class::Allow, 0..1),
        (MANY, Class::Allow, 0..PODS),
        (DENIED, Class::Drop, 0..PODS),
    ] {
        let flows = workload
            .only(targets)
            .flows(class, 4096, 16, false)
            .unwrap_or_default();
        let frames = stage.frames(workload, &flows)?;
        instruments.set_frames(set, &frames)?;
    }
    Ok(())
}

fn ways(stage: &Stage<'_>, instruments: &Instruments, packets: u32) -> Result<Vec<Way>> {
    let way = |name: &str, program, set| Way::new(name, program, set, packets);
    Ok(vec![
        way("two-instruction drop", instruments.program("drop_all")?, ONE),
        way("ours: drop", stage.product()?, DENIED),
        way(
            "two-instruction redirect, one pod",
            instruments.program("redirect_one")?,
            ONE,
        ),
        way("ours, one pod", stage.product()?, ONE),
        way("linear, one pod", instruments.program("linear")?, ONE),
        way("two LPM tries, one pod", instruments.program("two_lpm")?, ONE),
        way(
            "two-instruction redirect, 110 pods",
            instruments.program("redirect_many")?,
            MANY,
        ),
        way("ours, 110 pods", stage.product()?, MANY),
        way("linear, 110 pods", instruments.program("linear")?, MANY),
        way("two LPM tries, 110 pods", instruments.program("two_lpm")?, MANY),
    ])
}

fn show(section: &mut Section, short: &str, long: &str, found: &[Found], aa: f64) {
    let by_name = |name: &str| found.iter().find(|one| one.name == name);
    let mut rows = Vec::new();
    for one in found {
        let pods = one.name.split_once(", ").map(|(_, pods)| pods);
        let ceiling = pods.and_then(|pods| by_name(&format!("two-instruction redirect, {pods}")));
        // Packets per second, so the ceiling's time over the own.
        let speed = ceiling.map(|ceiling| ceiling.delivered.ratio(&one.delivered).median());
        if let (Some(speed), Some(("ours", pods))) = (speed, one.name.split_once(", ")) {
            let name = if pods == "one pod" { "one" } else { "many" };
            section.fact(format!("live.{short}.{name}"), speed);
        }
        section.keep(format!("{short}: {}", one.name), "ns per packet sent", &one.sent);
        rows.push(vec![
            one.name.clone(),
            spread(&one.sent),
            format!(
                "{} %",
                number(100.0 * one.total.received as f64 / one.total.sent as f64)
            ),
            speed.map_or_else(String::new, |speed| ratio(speed, aa)),
        ]);
    }
    section.table(
        &format!("{long}; 11,000 rules"),
        &[
            "program",
            "ns per packet sent",
            "arrived",
            "packets/s against the redirect",
        ],
        rows,
    );
    section.plots.push(Plot {
        name: format!("delivery-{short}"),
        title: long.to_owned(),
        x: String::new(),
        y: "ns".to_owned(),
        series: found
            .iter()
            .map(|one| Series {
                name: one.name.clone(),
                points: vec![(0.0, one.sent.median())],
            })
            .collect(),
    });
}

/// A pod whose GRO somebody switches off gets no redirected packet. It must be noticed, and repaired or told.
fn gro_off(
    stage: &Stage<'_>,
    instruments: &mut Instruments,
    packets: u32,
    section: &mut Section,
) -> Result<()> {
    let pod = &stage.pods[0];
    let _sinks = Sinks::attach(instruments, "sink", Hook::TcxIngress, &stage.pods[..1])?;
    let product = stage.product()?;
    let nic = stage.nic.ifindex;
    pod.set_gro(false)?;
    let start = Instant::now();
    let during = instruments.live(&stage.node, nic, &product, ONE, packets)?;
    let noticed = xdp_lab::wait_until(
        "GRO is on again, or the status says that it is off",
        std::time::Duration::from_secs(5),
        || pod.gro().unwrap_or(false) || stage.agent.status().is_some_and(|status| !status.ready("p1")),
    );
    let took = start.elapsed().as_secs_f64() * 1e3;
    let repaired = pod.gro()?;
    let counted: u64 = stage
        .agent
        .status()
        .map(|status| status.failures("p1").iter().map(|failure| failure.2).sum())
        .unwrap_or_default();
    let after = instruments.live(&stage.node, nic, &product, ONE, packets)?;
    section.fact("gro.lost.after", after.lost() as f64);
    section.table(
        "somebody switches GRO off in a pod, under packets",
        &[
            "noticed",
            "GRO after",
            "lost until then",
            "counted by the status",
            "lost afterwards",
        ],
        vec![vec![
            if noticed.is_ok() {
                format!("within {took:.0} ms")
            } else {
                "no".to_owned()
            },
            if repaired {
                "on again"
            } else {
                "off, and the pod is passed to"
            }
            .to_owned(),
            format!("{} of {}", during.lost(), during.sent),
            counted.to_string(),
            format!("{} of {}", after.lost(), after.sent),
        ]],
    );
    Ok(())
}
