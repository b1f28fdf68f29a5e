//! The end of the demo: the lab stays (`KEEP=1`), or the agent is uninstalled.

use std::{
    process::{Command, Stdio},
    thread,
};

use anyhow::Context as _;

use super::{
    clients::{
        PATIENCE, Servers, {self},
    },
    page::Page,
    setup::{BANNED, Setup},
};
use crate::Agent;

/// Datagrams that show that no policy applies any more.
const PROBES: u64 = 100;

/// Prints commands to explore the lab, and waits for Ctrl-C, which ends the process and removes the lab.
pub(super) fn explore(page: &Page, setup: &Setup, agent: &Agent<'_>) -> ! {
    let enter = |path: &std::path::Path| format!("nsenter --net={}", path.display());
    let (client, node) = (enter(setup.client.path()), enter(setup.lab.node().path()));
    let game = enter(setup.game.ns.path());
    let [udp, _] = setup.players();
    let [http, http_v6] = setup.http();
    let manifests = setup.manifests.folder().display();
    page.text(&format!(
        "Run these in another terminal. The agent watches the manifests in {manifests}.

Status, read from the kernel:
  {status}
HTTP requests. The answer is the client's address and the mark of the accepted connection:
  {client} curl --noproxy '*' http://{http}/ http://{http_v6}/
A datagram. tcpdump in the pod sees it; tcpdump on {nic} does not, because XDP redirects it:
  {game} tcpdump -ni eth0 udp port {port}
  {node} tcpdump -ni {nic} udp port {port}
  {client} bash -c 'echo hello > /dev/udp/{ip}/{port}'
The program on {nic}:
  {node} ip -details link show {nic}
The agent's log:
  less {log}

Press Ctrl-C here to remove everything.",
        status = agent.command_line("status"),
        port = udp.port(),
        ip = udp.ip(),
        nic = setup.nic.name,
        log = setup.lab.dir().join("agent.log").display(),
    ));
    loop {
        thread::park();
    }
}

/// Stops and uninstalls the agent, and checks by other means than the agent's that nothing is left.
pub(super) fn uninstall(
    page: &Page,
    setup: &Setup,
    agent: &mut Agent<'_>,
    servers: &Servers,
) -> anyhow::Result<bool> {
    agent.stop()?;
    page.text(agent.uninstall()?.trim_end());
    let pins = !setup.lab.pin_dir().exists();
    let nic = !ip_link(setup)?.contains("xdp");
    let gro = !setup.game.gro()? && !setup.web.gro()?;
    let arrived = unmarked(setup, servers)?;
    let checks = [
        (
            pins,
            format!("no pins: {} is removed", setup.lab.pin_dir().display()),
        ),
        (nic, format!("no program on {} (`ip link show`)", setup.nic.name)),
        (gro, "GRO in the pods is off again, as before".to_owned()),
        (
            arrived == PROBES,
            format!("{BANNED} is no longer blocked: {arrived} of {PROBES} datagrams arrived without a mark"),
        ),
    ];
    for (good, what) in &checks {
        page.line(&format!("{} {what}", if *good { '✓' } else { '✗' }));
    }
    Ok(checks.iter().all(|(good, _)| *good))
}

/// Returns how many datagrams of the banned client arrive by the stack, that is without a mark.
fn unmarked(setup: &Setup, servers: &Servers) -> anyhow::Result<u64> {
    let receiver = &servers.players[0];
    receiver.reset();
    let mut sender = clients::sender(setup, Some(BANNED), receiver.address())?;
    clients::send(&mut sender, PROBES)?;
    // The caller reports missing datagrams.
    let _ = receiver.wait_for(PROBES, PATIENCE);
    Ok(receiver.received().marks.get(&0).copied().unwrap_or(0))
}

fn ip_link(setup: &Setup) -> anyhow::Result<String> {
    let mut command = Command::new("ip");
    command
        .args(["-details", "link", "show", "dev", &setup.nic.name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let finished = setup
        .lab
        .node()
        .spawn(command)?
        .finish(PATIENCE)
        .context("ip link")?;
    Ok(finished.stdout)
}
