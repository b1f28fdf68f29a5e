//! The first attachment and the last detachment.

use anyhow::ensure;

use super::{
    super::{host::command, site::Site},
    Run, life,
};

/// The check that runs first.
pub(super) const FIRST: &[(&str, Run)] = &[("the program is attached natively, and verified", attach)];
/// The check that runs last.
pub(super) const LAST: &[(&str, Run)] = &[("uninstall removes everything from the NIC", detach)];

fn attach(site: &Site<'_>) -> anyhow::Result<()> {
    let streamed = site.under_a_stream(|| site.ready().map(drop))?;
    site.note_stream("first attach", &streamed);
    let status = site.ready()?;
    life::note_queues(site);
    let kernel = site.kernel_program();
    ensure!(
        kernel.is_some_and(|kernel| kernel.mode == 1 && Some(kernel.id) == status.program_id(&site.nic)),
        "the kernel shows {kernel:?}, and the status the program {:?}",
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
    let streamed = site.under_a_stream(|| {
        site.agent().uninstall()?;
        site.has_carrier()
    })?;
    site.note_stream("last detach", &streamed);
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
