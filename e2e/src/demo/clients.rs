//! Clients and servers: datagrams in bursts that a small machine can receive, and `curl`.

use std::{
    net::{IpAddr, SocketAddr},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use xdp_lab::{Finished, HttpServer, UdpReceiver, UdpSender};

use super::setup::Setup;

/// The limit for each step.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Packets per burst. A veth's ring holds 256.
pub(super) const BURST: u64 = 50;
const PER_SECOND: u32 = 20_000;

/// The servers in the pods.
pub(super) struct Servers {
    pub(super) players: [UdpReceiver; 2],
    pub(super) voice: UdpReceiver,
    pub(super) queries: UdpReceiver,
    pub(super) http: [HttpServer; 2],
}

impl Servers {
    pub(super) fn start(setup: &Setup) -> anyhow::Result<Self> {
        let [players_v4, players_v6] = setup.players();
        let [http_v4, http_v6] = setup.http();
        let (game, web) = (&setup.game.ns, &setup.web.ns);
        Ok(Self {
            players: [
                UdpReceiver::bind(game, players_v4)?,
                UdpReceiver::bind(game, players_v6)?,
            ],
            voice: UdpReceiver::bind(game, setup.voice())?,
            queries: UdpReceiver::bind(game, setup.queries())?,
            http: [HttpServer::start(web, http_v4)?, HttpServer::start(web, http_v6)?],
        })
    }
}

/// Sends paced bursts. Bursts that a busy machine delays are sent later, not all at once.
pub(super) fn send(sender: &mut UdpSender, packets: u64) -> anyhow::Result<()> {
    for first in (0..packets).step_by(BURST as usize) {
        sender.send_paced(BURST.min(packets - first), PER_SECOND)?;
    }
    Ok(())
}

pub(super) fn sender(setup: &Setup, from: Option<IpAddr>, to: SocketAddr) -> anyhow::Result<UdpSender> {
    Ok(match from {
        Some(ip) => UdpSender::from(&setup.client, SocketAddr::new(ip, 0), to)?,
        None => UdpSender::new(&setup.client, to)?,
    })
}

/// Requests a URL by `curl`. Returns the status code and the body.
pub(super) fn curl(setup: &Setup, url: &str) -> anyhow::Result<(String, String)> {
    let finished = run_curl(setup, &["--show-error", "--write-out", "\\n%{http_code}", url])?;
    ensure!(
        finished.status.success(),
        "curl {url}: {}: {}",
        finished.status,
        finished.stderr.trim()
    );
    let (body, code) = finished
        .stdout
        .trim()
        .rsplit_once('\n')
        .context("curl printed no status code")?;
    Ok((code.to_owned(), body.trim().to_owned()))
}

/// Requests a URL that has to be refused. Returns the error and the time until it came.
pub(super) fn refused(setup: &Setup, url: &str) -> anyhow::Result<String> {
    let start = Instant::now();
    let finished = run_curl(setup, &["--verbose", url])?;
    let took = start.elapsed().as_millis();
    ensure!(
        !finished.status.success(),
        "curl {url}: {}",
        finished.stdout.trim()
    );
    let error = "Connection refused";
    ensure!(
        finished.stderr.contains(error),
        "curl {url}: {}",
        finished.stderr.trim()
    );
    Ok(format!("{error}, after {took} ms"))
}

fn run_curl(setup: &Setup, arguments: &[&str]) -> anyhow::Result<Finished> {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--fail", "--noproxy", "*", "--max-time", "10"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let process = setup.client.spawn(command)?;
    process.finish(PATIENCE * 2).context("curl")
}
