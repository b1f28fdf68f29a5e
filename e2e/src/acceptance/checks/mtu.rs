//! The largest MTU that drivers take with a program. It depends on the type of the receive queues.

use anyhow::ensure;
use xdp_lab::bpf;

use super::{
    super::{
        not_applicable,
        protocol::PeerRequest,
        site::{MTU, Site},
    },
    Run,
    refusal::{Refusal, XDP_PASS},
};

pub(super) const PER_QUEUE: &[(&str, Run)] = &[
    (
        "too large an MTU is refused, and the program attached when it is smaller",
        mtu,
    ),
    (
        "the largest MTU with a program is what the agent says",
        largest_mtu,
    ),
];

/// Above one page, and below what NICs take.
const LARGE_MTU: u32 = 9000;

/// The limit of mlx5 and others with pages of 4 KiB.
const LINEAR: u32 = 3498;

fn set_mtu(site: &Site<'_>, mtu: u32) -> anyhow::Result<()> {
    site.peer.done(&PeerRequest::SetMtu(mtu))?;
    site.lab.node().set_mtu(&site.nic, mtu)?;
    site.has_carrier()
}

fn mtu(site: &Site<'_>) -> anyhow::Result<()> {
    let anything = ["MtuTooLarge", "AttachRefused", "NoNativeXdp"];
    Refusal {
        name: "large MTU",
        // Other drivers than mlx5 and veth have other errnos.
        reasons: if site.is_mlx5() || site.driver == "veth" {
            &anything[..1]
        } else {
            &anything
        },
        condition: &|| {
            let large = set_mtu(site, LARGE_MTU);
            large
                .map_err(|error| not_applicable(format!("the NIC takes no MTU of {LARGE_MTU}: {error:#}")))?;
            // Cyclic queues have a page for each frame, which may be one of 16 KiB.
            if mtu_limit(site)?.is_some_and(|limit| limit >= LARGE_MTU) {
                set_mtu(site, MTU)?;
                return Err(not_applicable(format!("an MTU of {LARGE_MTU} fits into a page")));
            }
            Ok(())
        },
        remedy: &|| set_mtu(site, MTU),
    }
    .check(site)
}

/// Searches the largest MTU with which the driver takes a program.
fn largest_mtu(site: &Site<'_>) -> anyhow::Result<()> {
    if site.driver == "veth" {
        return Err(not_applicable(
            "the limit of a veth pair is that of its other end",
        ));
    }
    site.detach()?;
    let node = site.lab.node();
    let program = bpf::load_xdp(XDP_PASS, false)?;
    let takes = |mtu: u32| -> anyhow::Result<bool> {
        if node.set_mtu(&site.nic, mtu).is_err() {
            return Ok(false);
        }
        let taken = node.attach_xdp(&site.nic, &program)?.is_ok();
        if taken {
            let _ = node.detach_xdp(&site.nic)?;
        }
        Ok(taken)
    };
    let (mut fits, mut above) = (MTU, LARGE_MTU + 1000);
    site.peer.done(&PeerRequest::SetMtu(LARGE_MTU))?;
    // Each attempt resets most NICs: try the limit of a page of 4 KiB first.
    let mut guesses = vec![LINEAR, LINEAR + 1];
    while above - fits > 1 {
        let middle = guesses.pop().filter(|guess| (fits + 1..above).contains(guess));
        let middle = middle.unwrap_or_else(|| u32::midpoint(fits, above));
        if takes(middle)? {
            fits = middle;
        } else {
            above = middle;
        }
    }
    // The NIC itself may have a smaller limit than its programs.
    let is_limit_of_nic = node.set_mtu(&site.nic, above).is_err();
    set_mtu(site, MTU)?;
    site.fact_of_queues("largest MTU with a program", fits);
    let limit = mtu_limit(site)?;
    site.fact_of_queues("largest MTU by preflight", limit);
    ensure!(
        limit.is_none_or(|limit| limit == fits || is_limit_of_nic && limit > fits),
        "preflight says {limit:?}, and {fits} fits"
    );
    Ok(())
}

/// Returns the largest MTU with a program as the agent says, if it knows the driver's limit.
fn mtu_limit(site: &Site<'_>) -> anyhow::Result<Option<u32>> {
    let nic = site.preflight_of_nic()?;
    let limit = nic.and_then(|nic| nic["mtuLimit"].as_u64());
    Ok(limit.and_then(|limit| limit.try_into().ok()))
}
