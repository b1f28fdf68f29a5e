//! What a driver does with frames and verdicts, found out by small programs in the agent's place.

use anyhow::ensure;
use serde_json::{Value, json};
use xdp_e2e_ebpf::{LRU_ENTRIES, ProbePlan};

use super::{
    super::{
        not_applicable,
        probe::{ACT, MEASURE, Probe, frame, overfill_lru, verified_instructions},
        protocol::PeerRequest,
        site::{MTU, Site, ports},
    },
    Run,
};

pub(super) const CHECKS: &[(&str, Run)] = &[
    (
        "aborted frames and failed redirects are counted by the driver and by the agent",
        exceptions,
    ),
    ("a full LRU map takes new entries and evicts old ones", lru),
    ("the rooms for metadata, head and tail are measured", rooms),
    (
        "the verifier processes at most 80,000 instructions of each program",
        verified,
    ),
];
/// Depends on the type of the receive queues.
pub(super) const PER_QUEUE: &[(&str, Run)] = &[(
    "a program with frags reaches every byte of a frame of several buffers",
    frags,
)];

const XDP_ABORTED: u32 = 0;
const XDP_DROP: u32 = 1;
const XDP_REDIRECT: u32 = 4;
/// It cannot be the target of a redirect.
const LOOPBACK: u32 = 1;

const FRAMES: usize = 16;
const LARGE_MTU: u32 = 9000;
const LARGE_PAYLOAD: usize = 7950;

fn frags(site: &Site<'_>) -> anyhow::Result<()> {
    let set = |mtu| {
        site.peer.done(&PeerRequest::SetMtu(mtu))?;
        site.lab.node().set_mtu(&site.nic, mtu)?;
        site.has_carrier()
    };
    site.detach()?;
    let found = match set(LARGE_MTU) {
        Ok(()) => measure_frags(site),
        Err(error) => {
            let why = format!("the NIC takes no MTU of {LARGE_MTU}: {error:#}");
            Err(not_applicable(why))
        }
    };
    set(MTU)?;
    found
}

fn measure_frags(site: &Site<'_>) -> anyhow::Result<()> {
    let mut probe = match Probe::attach(site, MEASURE)? {
        Ok(probe) => probe,
        Err(refusal) => return Err(not_applicable(format!("the driver takes no frags: {refusal}"))),
    };
    let flow = site.flow(site.pods.ptp.v4(), ports::REDIRECT)?;
    for (name, payload) in [("small", 64), ("large", LARGE_PAYLOAD)] {
        let sent = frame(flow, payload);
        let seen = probe.measure(&sent, FRAMES)?;
        site.fact_of_queues(
            &format!("frags, {name} frames"),
            json!({ "bytes": seen.total, "direct": seen.direct, "loaded": seen.loaded, "meta": seen.meta }),
        );
        ensure!(
            seen.total as usize == sent.len(),
            "{} bytes were sent: {seen:?}",
            sent.len()
        );
        ensure!(seen.loaded == 0, "the helper does not reach the end: {seen:?}");
    }
    Ok(())
}

/// What the agent's tracepoint programs have counted for a verdict on this NIC.
fn counted(site: &Site<'_>, action: &str) -> anyhow::Result<u64> {
    let status = site.wait_for("the status can be read", |_| true)?;
    let all = status.json()["exceptions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let of = |item: &&Value| item["nic"] == site.nic.as_str() && item["action"] == action;
    Ok(all
        .iter()
        .find(of)
        .and_then(|item| item["packets"].as_u64())
        .unwrap_or(0))
}

fn exceptions(site: &Site<'_>) -> anyhow::Result<()> {
    site.detach()?;
    let mut probe = Probe::attach(site, ACT)??;
    probe.redirect_to(LOOPBACK)?;
    let sent = frame(site.flow(site.pods.ptp.v4(), ports::REDIRECT)?, 64);
    for (action, name) in [(XDP_ABORTED, "Aborted"), (XDP_REDIRECT, "Redirect")] {
        probe.plan(ProbePlan {
            action,
            ..ProbePlan::default()
        })?;
        let (before, counting) = (counted(site, name)?, site.count("players")?);
        let seen = probe.act(&sent, FRAMES)?;
        ensure!(seen.action == action, "{seen:?}");
        let traced = counted(site, name)? - before;
        let dropped = counting.driver("rx_xdp_drop");
        site.fact(&format!("{name} of {FRAMES} frames: xdp_exception"), traced);
        site.fact(&format!("{name} of {FRAMES} frames: rx_xdp_drop"), dropped);
        // Not every driver has the tracepoint at a failed redirect.
        let expected = site.is_mlx5() || action == XDP_ABORTED;
        let all = FRAMES as u64;
        ensure!(
            !expected || traced == all,
            "the agent has counted {traced} of {FRAMES} {name}"
        );
        ensure!(
            !site.is_mlx5() || dropped == Some(all),
            "rx_xdp_drop has grown by {dropped:?}"
        );
    }
    Ok(())
}

fn rooms(site: &Site<'_>) -> anyhow::Result<()> {
    site.detach()?;
    let mut probe = Probe::attach(site, ACT)??;
    let sent = frame(site.flow(site.pods.ptp.v4(), ports::REDIRECT)?, 64);
    let mut largest = |name: &str, unit: i32, limit: i32, plan: &dyn Fn(i32) -> ProbePlan| {
        let (mut fits, mut above) = (0, limit / unit);
        while above - fits > 1 {
            let middle = i32::midpoint(fits, above);
            probe.plan(plan(middle * unit))?;
            let seen = probe.act(&sent, 1)?;
            if seen.meta | seen.head | seen.tail == 0 {
                fits = middle;
            } else {
                above = middle;
            }
        }
        site.fact(name, fits * unit);
        anyhow::Ok(())
    };
    let base = ProbePlan {
        action: XDP_DROP,
        ..ProbePlan::default()
    };
    largest("room for metadata", 4, 256, &|bytes| ProbePlan {
        meta: -bytes,
        ..base
    })?;
    largest("room at the head", 1, 1024, &|bytes| ProbePlan {
        head: -bytes,
        ..base
    })?;
    largest("room at the tail", 1, 8192, &|bytes| ProbePlan {
        tail: bytes,
        ..base
    })
}

/// More than the limit of the agent's own tests: Linux 6.1 follows more paths than later kernels.
fn verified(site: &Site<'_>) -> anyhow::Result<()> {
    const MOST: u32 = 80_000;
    site.ready()?;
    let all = verified_instructions();
    ensure!(
        all.iter().any(|(name, _)| name == "xdp_nic"),
        "the kernel does not show the program: {all:?}"
    );
    for (name, instructions) in all {
        ensure!(instructions <= MOST, "{name}: {instructions}");
        site.fact(&format!("verified instructions: {name}"), instructions);
    }
    Ok(())
}

/// Flows that are not confirmed are in LRU maps: a new one must always find room, at the cost of old ones.
fn lru(site: &Site<'_>) -> anyhow::Result<()> {
    let kept = overfill_lru()?;
    site.fact("entries of a full LRU map of 1024", kept.len());
    ensure!(
        kept.len() <= LRU_ENTRIES as usize && kept.len() >= LRU_ENTRIES as usize / 2,
        "the map has {} entries",
        kept.len()
    );
    ensure!(
        kept.contains(&(2 * LRU_ENTRIES - 1)),
        "the newest entry is not in the map"
    );
    let old = kept.iter().filter(|&&key| key < LRU_ENTRIES / 2).count();
    ensure!(
        old == 0,
        "{old} of the oldest entries are in the map, and newer ones are not"
    );
    Ok(())
}
