//! Live packets into real pods: arrivals, metadata, and the cost compared with the smallest redirect.

use std::time::Instant;

use anyhow::Result;
use xdp_lab::bpf::BpfAttachType;

use super::live::{LiveResult, Variant, contest};
use crate::{
    instruments::{FrameSet, Instruments},
    report::{Plot, Section, Series, number, ratio, spread},
    suite::{LiveParameters, Suite},
    testbed::{Receivers, Testbed},
    workload::{FlowClass, Workload},
};

const PODS: usize = 110;
const PACKETS: u32 = 200_000;
/// Flows to one pod; to all pods, 16 consecutive packets to each; and flows that are all dropped.
const ONE: FrameSet = FrameSet(0);
const MANY: FrameSet = FrameSet(1);
const DENIED: FrameSet = FrameSet(2);

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let LiveParameters {
        passes,
        packets,
        epoch,
        aa,
    } = suite.live_parameters(PACKETS);
    let testbed = suite.testbed()?;
    let mut section = Section::new("", "");
    let workload = testbed.full_workload(epoch);
    let mut instruments = ready(testbed, &workload)?;
    let receivers = [
        (
            "xdp",
            "an XDP program in the pod consumes the packets",
            "swallow",
            BpfAttachType::Xdp,
        ),
        (
            "skb",
            "ordinary pods: GRO, skb, a tc program consumes the packets",
            "sink",
            BpfAttachType::TcxIngress,
        ),
    ];
    let (mut lost, mut expecting, mut right) = (0, 0, 0);
    for (short, long, program, hook) in receivers {
        let _receivers = Receivers::attach(&instruments, program, hook, &testbed.pods)?;
        let variants = variants(testbed, &instruments, packets)?;
        let found = contest(testbed, &mut instruments, &variants, passes)?;
        show(&mut section, short, long, &found, aa);
        for product in found.iter().filter(|one| one.name.starts_with("xdp-operator, ")) {
            lost += product.total.sent - product.total.received;
            expecting += product.total.expecting;
            right += product.total.right;
        }
    }
    section.fact("live.lost", lost as f64);
    section.fact("live.right", 100.0 * right as f64 / expecting.max(1) as f64);
    section.note(format!("xdp-operator, all trials: {lost} lost; metadata and mark correct in {right} of {expecting} packets, compared in the pod with the mark that the frame carries."));
    gro_off(testbed, &mut instruments, packets, &mut section)?;
    Ok(section)
}

/// Installs a workload, and loads all variants with its rules.
pub(super) fn ready(testbed: &mut Testbed<'_>, workload: &Workload) -> Result<Instruments> {
    testbed.install(workload)?;
    let mut instruments = Instruments::load(false)?;
    prepare(testbed, &mut instruments, workload)?;
    Ok(instruments)
}

/// Sets frames, devices and the rivals' tables.
fn prepare(testbed: &Testbed<'_>, instruments: &mut Instruments, workload: &Workload) -> Result<()> {
    instruments.fill(workload, &testbed.pod_devices())?;
    instruments.add_device(&testbed.node, 0, testbed.pods[0].host_ifindex)?;
    for (key, pod) in (1..).zip(&testbed.pods) {
        instruments.add_device(&testbed.node, key, pod.host_ifindex)?;
    }
    for (set, class, targets) in [
        (ONE, FlowClass::Allow, 0..1),
        (MANY, FlowClass::Allow, 0..PODS),
        (DENIED, FlowClass::Drop, 0..PODS),
    ] {
        let flows = workload
            .only(targets)
            .flows(class, 4096, 16, false)
            .unwrap_or_default();
        let frames = testbed.frames(workload, &flows)?;
        instruments.set_frames(set, &frames)?;
    }
    Ok(())
}

fn variants(testbed: &Testbed<'_>, instruments: &Instruments, packets: u32) -> Result<Vec<Variant>> {
    let variant = |name: &str, program, set| Variant::new(name, program, set, packets);
    Ok(vec![
        variant("two-instruction drop", instruments.program("drop_all")?, ONE),
        variant("xdp-operator: drop", testbed.product()?, DENIED),
        variant(
            "two-instruction redirect, one pod",
            instruments.program("redirect_one")?,
            ONE,
        ),
        variant("xdp-operator, one pod", testbed.product()?, ONE),
        variant("linear, one pod", instruments.program("linear")?, ONE),
        variant("two LPM tries, one pod", instruments.program("two_lpm")?, ONE),
        variant(
            "two-instruction redirect, 110 pods",
            instruments.program("redirect_many")?,
            MANY,
        ),
        variant("xdp-operator, 110 pods", testbed.product()?, MANY),
        variant("linear, 110 pods", instruments.program("linear")?, MANY),
        variant("two LPM tries, 110 pods", instruments.program("two_lpm")?, MANY),
    ])
}

fn show(section: &mut Section, short: &str, long: &str, found: &[LiveResult], aa: f64) {
    let by_name = |name: &str| found.iter().find(|one| one.name == name);
    let mut rows = Vec::new();
    for one in found {
        let pods = one.name.split_once(", ").map(|(_, pods)| pods);
        let ceiling = pods.and_then(|pods| by_name(&format!("two-instruction redirect, {pods}")));
        // A ratio of packets per second is the inverse ratio of times.
        let speed = ceiling.map(|ceiling| ceiling.delivered.ratio(&one.delivered).median());
        if let (Some(speed), Some(("xdp-operator", pods))) = (speed, one.name.split_once(", ")) {
            let name = if pods == "one pod" { "one" } else { "many" };
            section.fact(format!("live.{short}.{name}"), speed);
        }
        section.add_trials(format!("{short}: {}", one.name), "ns per packet sent", &one.sent);
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
            "packets/s relative to the redirect",
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

/// Disables GRO in a pod, which then receives no redirected packets. The agent must enable it again or report
/// it.
fn gro_off(
    testbed: &Testbed<'_>,
    instruments: &mut Instruments,
    packets: u32,
    section: &mut Section,
) -> Result<()> {
    let pod = &testbed.pods[0];
    let _receivers = Receivers::attach(instruments, "sink", BpfAttachType::TcxIngress, &testbed.pods[..1])?;
    let product = testbed.product()?;
    let nic = testbed.nic.ifindex;
    pod.set_gro(false)?;
    let start = Instant::now();
    let during = instruments.live(&testbed.node, nic, &product, ONE, packets)?;
    let noticed = xdp_lab::wait_until(
        "GRO is on again, or the status says that it is off",
        std::time::Duration::from_secs(5),
        || pod.gro().unwrap_or(false) || testbed.agent.status().is_some_and(|status| !status.ready("p1")),
    );
    let took = start.elapsed().as_secs_f64() * 1e3;
    let repaired = pod.gro()?;
    let counted: u64 = testbed
        .agent
        .status()
        .map(|status| status.failures("p1").iter().map(|failure| failure.2).sum())
        .unwrap_or_default();
    let after = instruments.live(&testbed.node, nic, &product, ONE, packets)?;
    section.fact("gro.lost.after", after.lost() as f64);
    section.table(
        "GRO is disabled in a pod under traffic",
        &[
            "noticed",
            "GRO afterwards",
            "lost before",
            "counted in the status",
            "lost afterwards",
        ],
        vec![vec![
            if noticed.is_ok() {
                format!("within {took:.0} ms")
            } else {
                "no".to_owned()
            },
            if repaired {
                "enabled again"
            } else {
                "disabled, and packets take the stack"
            }
            .to_owned(),
            format!("{} of {}", during.lost(), during.sent),
            counted.to_string(),
            format!("{} of {}", after.lost(), after.sent),
        ]],
    );
    Ok(())
}
