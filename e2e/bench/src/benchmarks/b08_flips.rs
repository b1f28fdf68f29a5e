//! Many changes under traffic: the old or the new rules apply to every packet, never a mix of both.
//!
//! The agent switches the tables of each pod with one store. As a test of the test, a torn updater overwrites
//! the tables in place, and the benchmark must detect it.

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};
use xdp_lab::bpf::BpfAttachType;

use super::flips::{self, ChangePlan, under_packets};
use crate::{
    instruments::Instruments,
    report::Section,
    shared::FrameBytes,
    suite::Suite,
    tables::{Overwriter, TableSnapshot},
    testbed::{Receivers, Testbed, name},
    workload::{ExpectedVerdict, SOURCE_PORT, TestFlow, UDP, Workload, bits},
};

/// Pods whose rules change together, in one reconcile.
const PODS: u32 = 10;
const FLIPS: u32 = 1000;
const PACKETS: u64 = 10_000_000;
/// Enough to detect a torn updater.
const TORN_PACKETS: u64 = 1_000_000;
/// Mark of rules that must match no packet.
const NEVER: u32 = 4095;

/// Source of the packets. The bounds of the old networks with the rules of the new ones, and vice versa, lead
/// to a rule that must match no packet.
const SOURCE: [u8; 4] = [10, 0, 0, 200];

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let (epoch, pins) = (suite.next_epoch(), suite.pin_dir());
    let testbed = suite.testbed()?;
    let workload = testbed.targets(PODS as usize, epoch);
    // Creates the policies of the pods, whose files this benchmark replaces.
    testbed.install(&Workload::new(&testbed.v4(PODS as usize), 1, epoch))?;
    let found = atomic(testbed, &workload)?;
    let torn = torn(testbed, &workload, &pins)?;
    let neither = found.sent.saturating_sub(found.known);
    let mut section = Section::new("", "");
    section.fact("flips.wrong", (neither + found.late) as f64);
    section.fact("flips.count", found.took.0.len() as f64);
    section.fact("flips.packets", found.sent as f64);
    section.fact("flips.torn", torn.wrong as f64);
    section.add_trials("changed → first packet", "ms", &found.took);
    let row = |updater: &str, changes: usize, sent: u64, wrong: u64, late: &str| {
        let cells = [changes.to_string(), sent.to_string(), (sent - wrong).to_string()];
        let mut row = vec![updater.to_owned()];
        row.extend(cells);
        row.extend([wrong.to_string(), late.to_owned()]);
        row
    };
    section.table(
        "rules of ten pods changed under traffic",
        &[
            "updater",
            "changes",
            "packets",
            "with the mark of a programmed rule",
            "neither old nor new",
            "old after new",
        ],
        vec![
            row(
                "the agent",
                found.took.0.len(),
                found.sent,
                neither,
                &found.late.to_string(),
            ),
            row("deliberately torn", torn.changes, torn.sent, torn.wrong, "–"),
        ],
    );
    section.note("Counted in the pods, so a lost packet counts as neither. Old and new rules differ in networks and in order: a mix of both leads to a third rule, whose mark is never correct.");
    section.note("The torn updater overwrites the programmed tables with those of the other rules while the agent is stopped, as an update in place would. The benchmark fails unless it detects this.");
    Ok(section)
}

fn atomic(testbed: &Testbed<'_>, workload: &Workload) -> Result<flips::ChangeResult> {
    let plan = ChangePlan {
        pods: PODS,
        batches: FLIPS / PODS,
        packets: PACKETS * u64::from(PODS) / u64::from(FLIPS),
    };
    let (mut instruments, _receivers) = watch(testbed)?;
    write_all(testbed, workload, &plan, 0)?;
    wait(testbed, workload, &plan, 0)?;
    flips::run(
        testbed,
        &mut instruments,
        &frames(testbed, workload),
        &plan,
        |pod, mark| write(testbed, workload, pod, mark, is_new(mark)),
    )
}

/// Results of the torn updater.
struct Torn {
    changes: usize,
    sent: u64,
    wrong: u64,
}

fn torn(testbed: &mut Testbed<'_>, workload: &Workload, pins: &Path) -> Result<Torn> {
    let plan = ChangePlan {
        pods: PODS,
        batches: 1,
        packets: 0,
    };
    let mut states = Vec::new();
    for batch in 0..=1 {
        // Starts a new agent for each state, so that both states use the same elements.
        testbed.reinstall_with(|testbed| write_all(testbed, workload, &plan, batch))?;
        wait(testbed, workload, &plan, batch)?;
        states.push(TableSnapshot::read(pins)?);
    }
    let overwriter = Overwriter::new(pins, &states[0], &states[1])?;
    let (mut instruments, receivers) = watch(testbed)?;
    testbed.agent.stop()?;
    let mut changes = 0;
    let frames = frames(testbed, workload);
    let sent = under_packets(testbed, &mut instruments, &frames, |_, packets| {
        while changes < FLIPS as usize || packets.so_far() < TORN_PACKETS {
            changes += 1;
            overwriter.overwrite(changes % 2);
            // Lets some packets pass between two updates.
            std::thread::sleep(Duration::from_micros(20));
        }
        Ok(())
    })?;
    drop(receivers);
    testbed.reinstall_after_stop(|_| Ok(()))?;
    let mut known = 0;
    for mark in 1..=2 * PODS {
        known += instruments.mark_seen(mark)?.1;
    }
    let wrong = sent.saturating_sub(known);
    ensure!(
        wrong > 0,
        "the torn updater was not detected with {sent} packets: the benchmark proves nothing"
    );
    Ok(Torn { changes, sent, wrong })
}

fn watch(testbed: &Testbed<'_>) -> Result<(Instruments, Receivers)> {
    let instruments = Instruments::load(false)?;
    let pods = &testbed.pods[..PODS as usize];
    let receivers = Receivers::attach(&instruments, "watch", BpfAttachType::TcxIngress, pods)?;
    Ok((instruments, receivers))
}

const fn is_new(mark: u32) -> bool {
    (mark - 1) / PODS % 2 == 1
}

fn write_all(testbed: &Testbed<'_>, workload: &Workload, plan: &ChangePlan, batch: u32) -> Result<()> {
    (0..PODS).try_for_each(|pod| {
        let mark = plan.mark(batch, pod);
        write(testbed, workload, pod, mark, is_new(mark))
    })
}

fn wait(testbed: &Testbed<'_>, workload: &Workload, plan: &ChangePlan, batch: u32) -> Result<()> {
    (0..PODS).try_for_each(|pod| testbed.wait_until_right(workload, &flow(pod, plan.mark(batch, pod))))
}

fn frames(testbed: &Testbed<'_>, workload: &Workload) -> Vec<FrameBytes> {
    (0..PODS)
        .map(|pod| testbed.frame(workload, &flow(pod, 1)))
        .collect()
}

fn flow(pod: u32, mark: u32) -> TestFlow {
    TestFlow {
        target: pod as usize,
        source: bits(SOURCE.into()),
        from_port: SOURCE_PORT,
        protocol: UDP,
        port: 7777,
        verdict: ExpectedVerdict::Redirect(mark),
    }
}

/// Writes one of two lists of three rules: in the old one, the first rule matches, in the new one, the last.
fn write(testbed: &Testbed<'_>, workload: &Workload, pod: u32, mark: u32, new: bool) -> Result<()> {
    let app = name(pod as u8 + 1);
    let (mark, never) = (workload.mark(mark), workload.mark(NEVER));
    let rules: [(&[&str], u32); 3] = if new {
        [
            (&["0.0.0.0/6", "4.0.0.0/8"], never),
            (&["4.0.0.0/6", "8.0.0.0/7", "10.0.0.0/25"], never),
            (&[], mark),
        ]
    } else {
        [
            (&["10.0.0.0/24"], mark),
            (&["0.0.0.0/5", "8.0.0.0/7"], never),
            (&[], never),
        ]
    };
    let rules: String = (0..).zip(rules).map(rule).collect();
    let text = format!(
        "apiVersion: xdp-operator.io/v1alpha1\nkind: XdpPolicy\nmetadata: {{namespace: games, name: {app}-0}}\n\
         spec:\n  podSelector: {{matchLabels: {{app: {app}}}}}\n  ingress:\n{rules}"
    );
    testbed.manifests.write(&format!("policy-{app}.yaml"), &text)
}

fn rule((index, (networks, mark)): (usize, (&[&str], u32))) -> String {
    let peers: Vec<String> = networks
        .iter()
        .map(|network| format!("{{ipBlock: {{cidr: {network}}}}}"))
        .collect();
    format!(
        "  - {{name: r{index}, from: [{}], action: Redirect, mark: {mark}}}\n",
        peers.join(", ")
    )
}
