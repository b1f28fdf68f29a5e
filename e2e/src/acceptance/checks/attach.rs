//! The first attachment and the last detachment.

use std::{thread, time::Duration};

use anyhow::ensure;
use xdp_lab::UdpReceiver;

use super::super::{
    host::command,
    protocol::PeerRequest,
    site::{Site, at, ports},
};

type Run = fn(&Site<'_>) -> anyhow::Result<()>;

/// The check that runs first.
pub(super) const FIRST: &[(&str, Run)] = &[("the program is attached natively, and verified", attach)];
/// The check that runs last.
pub(super) const LAST: &[(&str, Run)] = &[("uninstall removes everything from the NIC", detach)];

const RATE: u32 = 500;

/// Runs `work` under a stream of datagrams that the stack delivers or the program redirects. Notes the carrier
/// changes, and how many datagrams were lost.
fn under_a_stream(
    site: &Site<'_>,
    what: &str,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let to = at(site.pods.ptp.v4(), ports::REDIRECT);
    let inbox = UdpReceiver::bind(&site.pods.ptp.ns, to)?;
    let before = site.lab.node().interface(&site.nic)?.carrier_changes;
    site.peer.done(&PeerRequest::Stream { to, per_second: RATE })?;
    inbox.wait_for(20, super::super::site::PATIENCE)?;
    let worked = work();
    let arrived = inbox.received().packets;
    let flows_again = inbox.wait_for(arrived + 20, super::super::site::PATIENCE);
    let (stream, sent) = site.peer.stop()?;
    worked?;
    flows_again?;
    // The last ones may be under way.
    let _ = xdp_lab::wait_until("all arrive", Duration::from_secs(1), || {
        inbox.stream(stream).distinct == sent
    });
    let changes = site.lab.node().interface(&site.nic)?.carrier_changes - before;
    site.fact(&format!("{what}: carrier changes"), changes);
    site.fact(
        &format!("{what}: datagrams lost"),
        inbox.stream(stream).lost(sent),
    );
    site.fact(&format!("{what}: datagrams sent"), sent);
    Ok(())
}

fn attach(site: &Site<'_>) -> anyhow::Result<()> {
    under_a_stream(site, "first attach", || site.ready().map(drop))?;
    let status = site.ready()?;
    let shown = command(
        site.lab.node(),
        &format!("ip -json -details link show dev {}", site.nic),
    )?;
    let link: serde_json::Value = serde_json::from_str(&shown)?;
    let xdp = &link[0]["xdp"];
    ensure!(xdp["mode"] == 1, "the kernel does not show native mode: {xdp}");
    ensure!(
        xdp["prog"]["id"].as_u64() == status.program_id(&site.nic),
        "the kernel shows another program than the status: {xdp}, {:?}",
        status.program_id(&site.nic)
    );
    let ifindex = status.json()["nics"][0]["ifindex"].as_u64();
    ensure!(
        ifindex == Some(site.ifindex().into()),
        "the status shows the index {ifindex:?}"
    );
    Ok(())
}

fn detach(site: &Site<'_>) -> anyhow::Result<()> {
    site.ready()?;
    site.agent_mut().stop()?;
    under_a_stream(site, "last detach", || {
        site.agent().uninstall().map(drop)?;
        // The driver may reset its queues after the call.
        thread::sleep(Duration::from_millis(100));
        Ok(())
    })?;
    let shown = command(
        site.lab.node(),
        &format!("ip -details link show dev {}", site.nic),
    )?;
    ensure!(!shown.contains("xdp"), "there is still a program: {shown}");
    ensure!(!site.lab.pin_dir().exists(), "the pin directory is still there");
    let filters = command(
        site.lab.node(),
        &format!("tc filter show dev {} egress", site.nic),
    )?;
    ensure!(filters.trim().is_empty(), "there are still filters: {filters}");
    Ok(())
}
