//! A NIC that goes and comes back, and commands that fail.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};

use super::{
    super::{
        host::command,
        not_applicable,
        protocol::CardRequest,
        site::{PATIENCE, Site},
    },
    Run,
    traffic::arrive_marked,
};

pub(super) const CHECKS: &[(&str, Run)] = &[
    (
        "the agent attaches again after the driver was unbound and bound",
        rebind,
    ),
    (
        "the agent attaches again after the PCI device was removed and found again",
        rescan,
    ),
    (
        "the agent attaches again after a fatal firmware error, and the status never lies",
        fatal,
    ),
    ("the program stays over an error of a receive queue", queue_error),
    (
        "a failing CREATE_RQ at the first attach is reported, and the attach is tried again",
        create_fails,
    ),
    (
        "a failing MODIFY_RQ at the first attach is reported, and the attach is tried again",
        modify_fails,
    ),
];

const DEVICES: &str = "/sys/bus/pci/devices";

/// `MLX5_CMD_STAT_LIM_ERR` (include/linux/mlx5/device.h): the driver returns ENOMEM.
const LIMIT_EXCEEDED: u8 = 8;
const CREATE_RQ: u16 = 0x908;
const MODIFY_RQ: u16 = 0x909;

/// Lets the NIC go and come back. The new one has a new index and no program: the agent must be on it again.
fn again(
    site: &Site<'_>,
    goes: impl FnOnce() -> anyhow::Result<()>,
    returns: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    site.ready()?;
    let before = site.ifindex();
    goes()?;
    site.nic_goes()?;
    let gone = site.honest_until("the status shows no program", |status| {
        status.nic_mode(&site.nic) != Some("Native")
    });
    returns()?;
    site.adopt_again()?;
    gone?;
    ensure!(site.ifindex() != before, "the NIC has the same index");
    site.honest_until("the agent is on the new NIC", |status| {
        site.is_ready(status) && status.json()["nics"][0]["ifindex"] == site.ifindex()
    })?;
    arrive_marked(site)
}

fn bus(site: &Site<'_>) -> anyhow::Result<String> {
    if site.driver == "virtio_net" {
        // Seen on Linux 7.3.4: "unregister_netdevice: waiting for eth0 to become free", without end.
        return Err(not_applicable(
            "the kernel does not release a virtio NIC that is unbound",
        ));
    }
    site.bus()?
        .filter(|bus| Path::new(DEVICES).join(bus).exists())
        .ok_or_else(|| not_applicable("the NIC is no PCI device"))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write to `{}`", path.display()))
}

fn rebind(site: &Site<'_>) -> anyhow::Result<()> {
    let bus = bus(site)?;
    let driver = Path::new(DEVICES).join(&bus).join("driver").canonicalize()?;
    again(
        site,
        || write(&driver.join("unbind"), &bus),
        || write(&driver.join("bind"), &bus),
    )
}

fn rescan(site: &Site<'_>) -> anyhow::Result<()> {
    let bus = bus(site)?;
    let device = Path::new(DEVICES).join(&bus);
    again(
        site,
        || write(&device.join("remove"), "1"),
        || write(Path::new("/sys/bus/pci/rescan"), "1"),
    )
}

/// The card's faults exist for a card in software only.
pub(super) fn needs_card(site: &Site<'_>) -> anyhow::Result<()> {
    if site.other.card && site.is_mlx5() {
        return Ok(());
    }
    Err(not_applicable("only a card in software has this fault"))
}

fn fatal(site: &Site<'_>) -> anyhow::Result<()> {
    needs_card(site)?;
    again(site, || site.peer.card(CardRequest::FatalError), || Ok(()))
}

fn queue_error(site: &Site<'_>) -> anyhow::Result<()> {
    needs_card(site)?;
    let before = site.ready()?.program_id(&site.nic);
    site.peer.card(CardRequest::ReceiveQueueError)?;
    let status = site.honest_until("the NIC is ready", |status| site.is_ready(status))?;
    ensure!(
        status.program_id(&site.nic) == before,
        "the program is another one"
    );
    site.has_carrier()?;
    arrive_marked(site)
}

/// One command fails while the driver makes the queues of the first attach.
fn fails(site: &Site<'_>, opcode: u16) -> anyhow::Result<()> {
    needs_card(site)?;
    site.detach()?;
    site.peer.card(CardRequest::Fail {
        opcode,
        status: LIMIT_EXCEEDED,
        times: 1,
    })?;
    let before = site.agent().log().len();
    let attached = site.ready();
    let log = site.agent().log();
    let log = log.get(before..).unwrap_or_default();
    attached.context("the attach was not tried again")?;
    ensure!(
        log.contains("AttachRefused") && log.contains("os error 12") && log.contains("_RQ(0x"),
        "the log does not say ENOMEM and the command: {log}"
    );
    let dmesg = command(site.lab.node(), "dmesg").unwrap_or_default();
    let line = dmesg.lines().rev().find(|line| line.contains("_RQ(0x"));
    site.fact(
        &format!("failing {opcode:#x}: the kernel's log"),
        line.unwrap_or_default(),
    );
    site.lab.node().wait_for_carrier(&site.nic, PATIENCE)?;
    arrive_marked(site)
}

fn create_fails(site: &Site<'_>) -> anyhow::Result<()> {
    fails(site, CREATE_RQ)
}

fn modify_fails(site: &Site<'_>) -> anyhow::Result<()> {
    fails(site, MODIFY_RQ)
}
