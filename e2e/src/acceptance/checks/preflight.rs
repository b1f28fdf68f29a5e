//! What makes drivers refuse a program.

use std::{cell::RefCell, os::fd::OwnedFd};

use xdp_lab::bpf::{self, BpfAttachType, XDP_FLAGS_DRV_MODE};

use super::{
    super::{
        host::{key_values, try_command},
        not_applicable,
        site::Site,
    },
    Run,
    life::ethtool,
    queues::is_striding,
    refusal::{Refusal, XDP_PASS},
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
