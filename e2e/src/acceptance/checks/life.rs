//! What happens to a NIC while the agent lives, and to the agent while the NIC carries traffic.

use anyhow::{Context as _, ensure};
use xdp_core::tables::ABI_VERSION;
use xdp_lab::bpf;

use super::{
    super::{
        host::{command, try_command},
        not_applicable,
        protocol::PeerRequest,
        site::{MTU, Site},
    },
    Run,
    traffic::arrive_marked,
};
use crate::make_pins_older;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("no datagram is lost over a restart of the agent", restart),
    ("no datagram is lost over a kill of the agent", kill),
    (
        "no datagram is lost when another version of the program is replaced",
        replace,
    ),
    (
        "no datagram is lost over an upgrade to another table layout",
        upgrade,
    ),
    ("the program stays over a change of the rings", rings),
    ("the program stays over a change of the channels", channels),
    ("the program stays over a change of the MTU", mtu),
    ("the program stays over a lost carrier", carrier),
];

const XDP_PASS: u32 = 2;

/// Runs `work` under a stream. No datagram may be lost, and after it the NIC is ready.
fn nothing_is_lost(
    site: &Site<'_>,
    only_marked: bool,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    site.ready()?;
    let streamed = site.under_a_stream(work)?;
    ensure!(streamed.lost == 0, "{streamed:?}");
    ensure!(streamed.carrier_changes == 0, "{streamed:?}");
    let marked = streamed.marks.get(&site.mark()) == Some(&streamed.sent);
    ensure!(marked || !only_marked, "some have lost their mark: {streamed:?}");
    site.ready().map(drop)
}

fn restart(site: &Site<'_>) -> anyhow::Result<()> {
    nothing_is_lost(site, true, || {
        site.agent_mut().stop()?;
        site.ready().map(drop)
    })
}

fn kill(site: &Site<'_>) -> anyhow::Result<()> {
    nothing_is_lost(site, true, || {
        site.agent_mut().kill()?;
        site.ready().map(drop)
    })
}

/// The link of the agent's pin gets a program that passes every frame: the next agent replaces it.
fn replace(site: &Site<'_>) -> anyhow::Result<()> {
    let before = site.ready()?.program_id(&site.nic);
    nothing_is_lost(site, false, || {
        site.agent_mut().kill()?;
        let pins = site.lab.pin_dir().join(format!("abi-{ABI_VERSION}/links"));
        let link =
            bpf::open_pin(&pins.join(format!("nic-{}", site.ifindex()))).context("no pin of the link")?;
        bpf::link_replace(&link, bpf::load_xdp(XDP_PASS, false)?)
            .context("the link takes no other program")?;
        drop(link);
        let foreign = site.kernel_program().map(|program| program.id);
        ensure!(
            foreign.is_some() && foreign != before,
            "the kernel shows {foreign:?}"
        );
        site.ready()?;
        site.wait_for("the agent's program is back", |status| {
            status.program_id(&site.nic) != foreign
        })?;
        Ok(())
    })
}

/// Pins with the names of another layout: the agent loads new programs and tables in addition.
fn upgrade(site: &Site<'_>) -> anyhow::Result<()> {
    let before = site.ready()?.program_id(&site.nic);
    nothing_is_lost(site, true, || {
        site.agent_mut().stop()?;
        make_pins_older(&site.lab.pin_dir())?;
        site.ready()?;
        site.wait_for("the new program is attached", |status| {
            status.program_id(&site.nic).is_some_and(|id| Some(id) != before)
        })?;
        Ok(())
    })
}

/// Runs `change`, and checks that the same program is attached and redirects.
fn stays(site: &Site<'_>, what: &str, change: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let before = site.ready()?.program_id(&site.nic);
    let streamed = site.under_a_stream(|| {
        change()?;
        site.has_carrier()
    })?;
    site.note_stream(what, &streamed);
    let status = site.ready()?;
    ensure!(
        status.program_id(&site.nic) == before,
        "the program is another one"
    );
    let kernel = site.kernel_program();
    ensure!(
        kernel.map(|program| program.id) == before,
        "the kernel shows {kernel:?}"
    );
    arrive_marked(site)
}

/// Runs an `ethtool` command; one that the driver does not have is not applicable.
pub(super) fn ethtool(site: &Site<'_>, arguments: &str) -> anyhow::Result<()> {
    let finished = try_command(site.lab.node(), &format!("ethtool {arguments}"))?;
    if finished.status.success() {
        return Ok(());
    }
    Err(not_applicable(format!(
        "ethtool {arguments}: {}",
        finished.stderr.trim()
    )))
}

/// Returns the current value behind a word, in the second half of what ethtool prints.
fn current(site: &Site<'_>, option: &str, word: &str) -> anyhow::Result<u32> {
    let shown = try_command(site.lab.node(), &format!("ethtool {option} {}", site.nic))?.stdout;
    let current = shown.split("Current").nth(1).unwrap_or_default();
    let value = current
        .lines()
        .find_map(|line| line.strip_prefix(word)?.trim().parse().ok());
    value.ok_or_else(|| not_applicable(format!("the driver shows no `{word}`")))
}

fn rings(site: &Site<'_>) -> anyhow::Result<()> {
    let now = current(site, "-g", "RX:")?;
    stays(site, "ring change", || {
        ethtool(site, &format!("-G {} rx {}", site.nic, now / 2))?;
        ethtool(site, &format!("-G {} rx {now}", site.nic))
    })
}

fn channels(site: &Site<'_>) -> anyhow::Result<()> {
    let now = current(site, "-l", "Combined:")?;
    if now < 2 {
        return Err(not_applicable("the NIC has one channel"));
    }
    stays(site, "channel change", || {
        ethtool(site, &format!("-L {} combined {}", site.nic, now - 1))?;
        ethtool(site, &format!("-L {} combined {now}", site.nic))
    })
}

fn mtu(site: &Site<'_>) -> anyhow::Result<()> {
    stays(site, "MTU change", || {
        site.lab.node().set_mtu(&site.nic, MTU - 100)?;
        Ok(site.lab.node().set_mtu(&site.nic, MTU)?)
    })
}

fn carrier(site: &Site<'_>) -> anyhow::Result<()> {
    stays(site, "lost carrier", || {
        site.peer.done(&PeerRequest::SetLink(false))?;
        let node = site.lab.node();
        let lost = || node.interface(&site.nic).is_ok_and(|nic| !nic.carrier);
        let lost = xdp_lab::wait_until("the carrier is lost", super::super::site::PATIENCE, lost);
        let status = site.agent().status();
        site.peer.done(&PeerRequest::SetLink(true))?;
        lost?;
        ensure!(
            status.is_none_or(|status| status.nic_mode(&site.nic) == Some("Native")),
            "the status shows no program while there is no carrier"
        );
        // The peer has lost its routes and IPv6 addresses.
        site.has_carrier()?;
        site.connect()
    })
}

/// Notes the rings and channels.
pub(super) fn note_queues(site: &Site<'_>) {
    for (name, option) in [("rings", "-g"), ("channels", "-l")] {
        if let Ok(shown) = command(site.lab.node(), &format!("ethtool {option} {}", site.nic)) {
            let current = shown.split("Current").nth(1).unwrap_or_default();
            let text = current.split_whitespace().skip(2).collect::<Vec<_>>().join(" ");
            site.fact(name, text);
        }
    }
}
