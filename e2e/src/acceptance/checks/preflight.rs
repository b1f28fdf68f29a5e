//! Refusals: predicted before the attach, explained by the agent, made by the driver, and remedied.

use std::{cell::RefCell, os::fd::OwnedFd};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use xdp_lab::bpf::{self, BpfAttachType, XDP_FLAGS_DRV_MODE};

use super::{
    super::{
        host::{command, key_values, try_command},
        not_applicable,
        protocol::PeerRequest,
        site::{MTU, Site},
    },
    Run,
    life::ethtool,
    traffic::arrive_marked,
};

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("LRO is refused, and the program attached when it is off", lro),
    (
        "HW-GRO is refused, and the program attached when it is off",
        hw_gro,
    ),
    (
        "TCP data split is refused, and the program attached when it is off",
        tcp_data_split,
    ),
    (
        "a foreign program is refused, and the program attached when it is gone",
        foreign_program,
    ),
    (
        "a foreign link is refused, and the program attached when it is gone",
        foreign_link,
    ),
    (
        "firmware that cannot use striding queues with XDP is refused until they are cyclic",
        old_firmware,
    ),
];
/// Depends on the type of the receive queues.
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

const XDP_PASS: u32 = 2;
/// Above one page, and below what NICs take.
const LARGE_MTU: u32 = 9000;

/// The limit of mlx5 and others with pages of 4 KiB.
const LINEAR: u32 = 3498;

/// A condition under which a program is refused.
struct Refusal<'a> {
    /// For the facts.
    name: &'a str,
    /// The reasons that the agent may give.
    reasons: &'a [&'a str],
    /// Makes it so.
    condition: &'a dyn Fn() -> anyhow::Result<()>,
    /// Ends it.
    remedy: &'a dyn Fn() -> anyhow::Result<()>,
}

impl Refusal<'_> {
    /// Detaches the program, and tries the refusal.
    fn check(&self, site: &Site<'_>) -> anyhow::Result<()> {
        site.detach()?;
        self.check_detached(site)
    }

    /// The agent must say why, before and after its attempt, and attach by itself once it is remedied.
    fn check_detached(&self, site: &Site<'_>) -> anyhow::Result<()> {
        let seen = (self.condition)().and_then(|()| self.refused(site));
        let remedied = (self.remedy)();
        let (predicted, driver, message) = seen?;
        remedied?;
        site.fact(
            &format!("refused, {}", self.name),
            json!({ "predicted": predicted, "agent": message, "driver": driver }),
        );
        // Not restarted: the agent must notice by itself.
        site.honest_until("the NIC is attached by itself", |status| site.is_ready(status))?;
        arrive_marked(site)
    }

    fn refused(&self, site: &Site<'_>) -> anyhow::Result<(Value, Value, Value)> {
        let driver = driver_says(site)?;
        let nic = site.preflight_of_nic()?;
        site.agent_mut().start()?;
        let object = format!("NIC {}", site.nic);
        let status = site.wait_for(
            &format!("the agent reports one of {:?}", self.reasons),
            |status| {
                status.running()
                    && self
                        .reasons
                        .iter()
                        .any(|reason| status.problem(&object, reason).is_some())
            },
        )?;
        ensure!(
            status.nic_mode(&site.nic) != Some("Native"),
            "the status says Native"
        );
        let problem = self
            .reasons
            .iter()
            .find_map(|reason| status.problem(&object, reason));
        let problem = problem.context("there is no problem")?;
        ensure!(
            problem["remedy"].as_str().is_some_and(|text| !text.is_empty()),
            "no remedy: {problem}"
        );
        let predicted = nic.map_or(Value::Null, |nic| nic["problems"].clone());
        let all = predicted.as_array().into_iter().flatten();
        let same = all.into_iter().any(|other| other["reason"] == problem["reason"]);
        // The arithmetic of other drivers is not known before the attempt.
        ensure!(
            same || !site.is_mlx5(),
            "preflight does not predict {problem}: {predicted}"
        );
        Ok((predicted, driver, problem["message"].clone()))
    }
}

/// Asks the driver itself for the smallest program. Where it has no text, it may have logged one.
fn driver_says(site: &Site<'_>) -> anyhow::Result<Value> {
    let node = site.lab.node();
    let program = bpf::load_xdp(XDP_PASS, false)?;
    let before = kernel_log(site).len();
    let Err(refusal) = node.attach_xdp(&site.nic, &program)? else {
        // It refuses only programs that redirect, or none.
        let _ = node.detach_xdp(&site.nic)?;
        return Ok(Value::Null);
    };
    let logged: Vec<String> = kernel_log(site).into_iter().skip(before).collect();
    Ok(format!("{refusal}{}", logged.join("; ")).into())
}

/// Returns the messages of the kernel so far, without their times.
fn kernel_log(site: &Site<'_>) -> Vec<String> {
    let text = command(site.lab.node(), "dmesg --notime").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Whether a feature is on, as `ethtool -k` shows it.
fn is_on(site: &Site<'_>, feature: &str) -> anyhow::Result<bool> {
    let shown = try_command(site.lab.node(), &format!("ethtool -k {}", site.nic))?.stdout;
    Ok(key_values(&shown)
        .get(feature)
        .is_some_and(|value| value.starts_with("on")))
}

fn merging(site: &Site<'_>, option: &str, feature: &str) -> anyhow::Result<()> {
    let set = |value: &str| ethtool(site, &format!("-K {} {option} {value}", site.nic));
    Refusal {
        name: option,
        reasons: &["HwGroOrLro"],
        condition: &|| {
            set("on")?;
            if is_on(site, feature)? && site.is_mlx5() {
                return Ok(());
            }
            set("off")?;
            Err(not_applicable(format!(
                "the NIC has no {feature} that the driver refuses"
            )))
        },
        remedy: &|| set("off"),
    }
    .check(site)
}

fn lro(site: &Site<'_>) -> anyhow::Result<()> {
    merging(site, "lro", "large-receive-offload")
}

fn hw_gro(site: &Site<'_>) -> anyhow::Result<()> {
    merging(site, "rx-gro-hw", "rx-gro-hw")
}

/// mlx5 takes it only while HW-GRO is on (`mlx5e_ethtool_set_tcp_data_split`); older kernels do not know it.
fn tcp_data_split(site: &Site<'_>) -> anyhow::Result<()> {
    let set = |on| site.lab.node().set_tcp_data_split(site.ifindex(), on);
    let merging = |value: &str| ethtool(site, &format!("-K {} rx-gro-hw {value}", site.nic));
    Refusal {
        name: "TCP data split",
        reasons: &["ReceiveQueuesInUse"],
        condition: &|| {
            let absent = |error| not_applicable(format!("the NIC has no TCP data split: {error:#}"));
            merging("on").map_err(absent)?;
            set(true).map_err(|error| absent(error.into()))
        },
        remedy: &|| {
            // It fails where there is no such split.
            let split = set(false);
            merging("off")?;
            Ok(split?)
        },
    }
    .check(site)
}

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

fn foreign_program(site: &Site<'_>) -> anyhow::Result<()> {
    let node = site.lab.node();
    Refusal {
        name: "foreign program",
        reasons: &["ForeignProgram"],
        condition: &|| Ok(node.attach_xdp(&site.nic, bpf::load_xdp(XDP_PASS, false)?)??),
        remedy: &|| Ok(node.detach_xdp(&site.nic)??),
    }
    .check(site)
}

fn foreign_link(site: &Site<'_>) -> anyhow::Result<()> {
    let link: RefCell<Option<OwnedFd>> = RefCell::default();
    let ifindex = site.ifindex();
    Refusal {
        name: "foreign link",
        reasons: &["ForeignProgram"],
        condition: &|| {
            let program = bpf::load_xdp(XDP_PASS, false)?;
            let create = || bpf::link_create(&program, ifindex, BpfAttachType::Xdp, XDP_FLAGS_DRV_MODE);
            *link.borrow_mut() = Some(site.lab.node().run(create)??);
            Ok(())
        },
        remedy: &|| {
            link.borrow_mut().take();
            Ok(())
        },
    }
    .check(site)
}

/// At the usual MTU. The driver begins with cyclic queues on such firmware.
fn old_firmware(site: &Site<'_>) -> anyhow::Result<()> {
    if !site.is_mlx5() {
        return Err(not_applicable("only mlx5 has striding receive queues"));
    }
    if site.kernel_program().is_some() || is_striding(site) {
        return Err(not_applicable("this firmware can use striding queues with XDP"));
    }
    let set = |value: &str| {
        ethtool(
            site,
            &format!("--set-priv-flags {} rx_striding_rq {value}", site.nic),
        )
    };
    Refusal {
        name: "old firmware",
        reasons: &["StridingReceiveQueues", "MtuTooLarge", "AttachRefused"],
        condition: &|| set("on"),
        remedy: &|| set("off"),
    }
    .check_detached(site)
}

fn is_striding(site: &Site<'_>) -> bool {
    let flags = command(
        site.lab.node(),
        &format!("ethtool --show-priv-flags {}", site.nic),
    );
    let flags = key_values(&flags.unwrap_or_default());
    flags.get("rx_striding_rq").is_some_and(|flag| flag == "on")
}
