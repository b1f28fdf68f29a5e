//! Rate limits: packets that pass per second, and the cost of a limit.

use std::thread;

use anyhow::{Context as _, Result, ensure};
use xdp_lab::bpf::{self, BpfAttachType};

use crate::{
    instruments::{FrameSet, Instruments},
    report::{Section, number, ratio, spread},
    shared::FeederProgress,
    stats::{Samples, interleave},
    suite::Suite,
    sys,
    testbed::{Receivers, Testbed, name},
    workload::{ExpectedVerdict, SOURCE_PORT, TestFlow, UDP, Workload, bits},
};

/// Packets per second, each on a pod of its own.
const RATES: [u32; 3] = [10_000, 100_000, 1_000_000];
/// Packets offered on each CPU.
const PACKETS: u32 = 4_000_000;
const PORT: u16 = 4000;
/// First of three pods whose rules have no limit, a limit that is never reached, and such a limit per source.
const FREE: usize = 3;
const REPEAT: u32 = 200_000;

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let (passes, packets, repeat) = (suite.passes(), suite.scaled(PACKETS), suite.scaled(REPEAT));
    let (epoch, aa) = (suite.next_epoch(), suite.aa);
    let testbed = suite.testbed()?;
    let empty = Workload {
        targets: Vec::new(),
        epoch,
    };
    testbed.install(&empty)?;
    let limits = RATES
        .iter()
        .map(|rate| format!(", rateLimit: {{packetsPerSecond: {rate}, burst: {}}}", rate / 10));
    let never = "packetsPerSecond: 100000000, burst: 10000000";
    let all = limits.chain([
        String::new(),
        format!(", rateLimit: {{{never}}}"),
        format!(", rateLimit: {{{never}, per: Source}}"),
    ]);
    for (pod, limit) in all.enumerate() {
        testbed
            .manifests
            .write(&file(pod), &policy(&name(pod as u8 + 1), &limit))?;
    }
    let flows: Vec<Vec<TestFlow>> = (0..FREE + 3).map(flows).collect();
    let targets = testbed.targets(FREE + 3, epoch);
    for flows in &flows {
        wait(testbed, &targets, &flows[0])?;
    }
    let mut instruments = testbed.instruments()?;
    for (set, flows) in (0..).zip(&flows) {
        let frames = testbed.frames(&targets, flows)?;
        instruments.set_frames(FrameSet(set), &frames)?;
    }
    let mut section = Section::new("", "");
    accuracy(testbed, &mut instruments, packets, &mut section)?;
    let sets: Vec<FrameSet> = (FREE as u32..FREE as u32 + 3).map(FrameSet).collect();
    let product = testbed.product()?;
    let samples = interleave(passes, &sets, |set| instruments.fed(&product, *set, repeat))?;
    cost(&mut section, &samples, aa);
    for pod in 0..FREE + 3 {
        testbed.manifests.remove(&file(pod))?;
    }
    Ok(section)
}

fn accuracy(
    testbed: &Testbed<'_>,
    instruments: &mut Instruments,
    packets: u32,
    section: &mut Section,
) -> Result<()> {
    let _receivers = Receivers::attach(
        instruments,
        "swallow",
        BpfAttachType::Xdp,
        &testbed.pods[..RATES.len()],
    )?;
    let mut rows = Vec::new();
    let mut worst = 0.0_f64;
    for (pod, rate) in RATES.iter().enumerate() {
        for cpus in [1, 2] {
            let before = instruments.received()?.packets;
            let (offered, seconds) = offer(testbed, instruments, FrameSet(pod as u32), packets, cpus)?;
            let passed = (instruments.received()?.packets - before) as f64;
            let allowed = f64::from(rate / 10) + f64::from(*rate) * seconds;
            let wrong = 100.0 * (passed / allowed - 1.0);
            if offered as f64 > 1.2 * allowed {
                worst = worst.max(wrong.abs());
            }
            rows.push(vec![
                format!("{rate} packets/s, {cpus} CPU"),
                number(offered as f64 / seconds),
                number(passed),
                number(allowed),
                if offered as f64 > 1.2 * allowed {
                    format!("{wrong:+.2} %")
                } else {
                    "too few packets offered".to_owned()
                },
            ]);
        }
    }
    section.fact("limit.error", worst);
    section.table(
        "one limit per rule, with a burst of a tenth of the rate",
        &[
            "limit",
            "offered, packets/s",
            "passed",
            "rate × time + burst",
            "error",
        ],
        rows,
    );
    Ok(())
}

/// Offers packets on one or two CPUs. Returns how many, and the seconds from the first to the last.
fn offer(
    testbed: &Testbed<'_>,
    instruments: &mut Instruments,
    set: FrameSet,
    packets: u32,
    cpus: usize,
) -> Result<(u64, f64)> {
    // Lets the bucket fill up again.
    thread::sleep(std::time::Duration::from_millis(150));
    instruments.prepare(&testbed.product()?, set, u64::from(packets))?;
    let (feeder, node, nic) = (instruments.program("feed")?, &testbed.node, testbed.nic.ifindex);
    let inject = |cpu| {
        node.run(|| {
            sys::pin_to(cpu)?;
            bpf::run_live(&feeder, &[0; 64], packets, nic)
        })
    };
    thread::scope(|scope| {
        let other = (cpus > 1).then(|| scope.spawn(|| inject(0)));
        inject(1)??;
        match other.map(thread::ScopedJoinHandle::join) {
            Some(Ok(done)) => Ok(done??),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok::<_, anyhow::Error>(()),
        }
    })?;
    let progress: Vec<FeederProgress> = instruments
        .progress()?
        .into_iter()
        .filter(|one| one.count > 0)
        .collect();
    let first = progress.iter().map(|one| one.first).min().context("no packet")?;
    let last = progress.iter().map(|one| one.last).max().context("no packet")?;
    ensure!(last > first, "the feeder did not end");
    Ok((
        progress.iter().map(|one| one.count).sum(),
        (last - first) as f64 / 1e9,
    ))
}

fn cost(section: &mut Section, samples: &[Samples], aa: f64) {
    let names = [
        "no limit",
        "limit of the rule, never reached",
        "limit of each source (4,096), never reached",
    ];
    let mut rows = Vec::new();
    for (name, one) in names.iter().zip(samples) {
        let added = one.with(&samples[0], |own, free| own - free).median();
        section.add_trials(*name, "ns, feeder included", one);
        rows.push(vec![
            (*name).to_owned(),
            spread(one),
            number(added),
            ratio(one.ratio(&samples[0]).median(), aa),
        ]);
    }
    let added = |which: usize| samples[which].with(&samples[0], |own, free| own - free).median();
    section.fact("limit.rule.ns", added(1));
    section.fact("limit.source.ns", added(2));
    section.table(
        "cost of a limit: ns per packet, feeder included",
        &["rule", "ns", "added", "relative to no limit"],
        rows,
    );
}

fn file(pod: usize) -> String {
    format!("limit-{pod}.yaml")
}

fn policy(app: &str, limit: &str) -> String {
    format!(
        "apiVersion: xdp-operator.io/v1alpha1\nkind: XdpPolicy\nmetadata: {{namespace: games, name: limit-{app}}}\n\
         spec:\n  podSelector: {{matchLabels: {{app: {app}}}}}\n  ingress:\n  \
         - {{name: r, ports: [{{protocol: UDP, port: {PORT}}}], action: Redirect, mark: 77{limit}}}\n"
    )
}

/// Returns flows from 4,096 sources.
fn flows(target: usize) -> Vec<TestFlow> {
    (0..4096_u32)
        .map(|source| TestFlow {
            target,
            source: bits(std::net::Ipv4Addr::from(0x2100_0000 + source * 7).into()),
            from_port: SOURCE_PORT,
            protocol: UDP,
            port: PORT,
            verdict: ExpectedVerdict::Redirect(77),
        })
        .collect()
}

fn wait(testbed: &Testbed<'_>, targets: &Workload, flow: &TestFlow) -> Result<()> {
    xdp_lab::wait_until(
        "the limits are programmed",
        std::time::Duration::from_secs(20),
        || {
            testbed
                .verdict(targets, flow)
                .is_ok_and(|ran| !ran.metadata.is_empty())
        },
    )
    .with_context(|| {
        testbed
            .agent
            .log()
            .lines()
            .rev()
            .take(5)
            .collect::<Vec<_>>()
            .join("\n")
    })
}
