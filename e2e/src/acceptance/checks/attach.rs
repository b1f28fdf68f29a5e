//! The first attachment and the last detachment.

use anyhow::{Context as _, ensure};

use super::{
    super::{host::command, site::Site},
    Run, life,
};

/// The checks that run first.
pub(super) const FIRST: &[(&str, Run)] = &[
    ("the program is attached natively, and verified", attach),
    (
        "the verifier processes at most 50,000 instructions of each program",
        verifier,
    ),
];
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

/// The agent logs the numbers when it has loaded the programs. The kernel counts them since Linux 5.16.
fn verifier(site: &Site<'_>) -> anyhow::Result<()> {
    const MOST: u32 = 50_000;
    site.ready()?;
    let log = site.agent().log();
    let (_, numbers) = log
        .split_once("verified_instructions=\"")
        .context("the agent does not log them")?;
    let (numbers, _) = numbers.split_once('"').context("the log is cut")?;
    site.fact("verified instructions", numbers);
    for program in numbers.split(", ") {
        let number = program.rsplit(' ').next().and_then(|number| number.parse().ok());
        ensure!(number.is_some_and(|number: u32| number <= MOST), "{program}");
    }
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
