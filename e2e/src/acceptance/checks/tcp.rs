//! Connections of real clients, both ways.

use anyhow::ensure;
use xdp_lab::{EchoConnection, EchoServer, HttpServer};

use super::{
    super::{
        host::statistics,
        protocol::PeerRequest,
        site::{MARK, PATIENCE, Site, at, peer_of, ports},
    },
    Run,
    traffic::needs_metadata,
};

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("accepted connections show the mark", accepted),
    ("replies leave by the reply path, past the stack", replies),
    ("large transfers go both ways", transfers),
    ("pods open connections to the wire", opened),
];

/// Bytes of a large transfer.
const LARGE: usize = 4 << 20;
/// Stray packets of the stack, such as neighbour discovery.
const FEW: u64 = 40;

fn accepted(site: &Site<'_>) -> anyhow::Result<()> {
    site.ready()?;
    needs_metadata(site)?;
    let counting = site.count("web")?;
    for pod in site.pods.redirected() {
        for ip in pod.addresses() {
            let server = HttpServer::start(&pod.ns, at(ip, ports::WEB))?;
            let mark = site.peer.http(server.address())?;
            ensure!(mark == MARK, "the socket that {ip} accepted has the mark {mark}");
        }
    }
    ensure!(
        counting.since("redirected")? >= 4 * 4,
        "the program has redirected fewer packets than were sent"
    );
    ensure!(counting.since("fellBack")? == 0, "packets fell back to the stack");
    Ok(())
}

fn replies(site: &Site<'_>) -> anyhow::Result<()> {
    site.ready()?;
    needs_metadata(site)?;
    for pod in site.pods.redirected() {
        for ip in pod.addresses() {
            let to = at(ip, ports::ECHO);
            let _server = EchoServer::start(&pod.ns, to)?;
            let before = site.lab.node().forwarded()?;
            site.peer.done(&PeerRequest::Echo { to, bytes: 200_000 })?;
            for _ in 0..10 {
                site.peer.done(&PeerRequest::Request {
                    to,
                    request: 100,
                    reply: 1000,
                })?;
            }
            let forwarded = site.lab.node().forwarded()? - before;
            ensure!(
                forwarded < FEW,
                "the stack has forwarded {forwarded} packets of {ip}"
            );
        }
    }
    Ok(())
}

fn transfers(site: &Site<'_>) -> anyhow::Result<()> {
    site.ready()?;
    let tso = |names: &[&str]| {
        let counters = statistics(site.lab.node(), &site.nic);
        names.iter().find_map(|name| counters.get(*name).copied())
    };
    let names = ["tx_tso_packets", "TSO pkts tx"];
    let before = tso(&names);
    for pod in site.pods.all() {
        for ip in pod.addresses() {
            let to = at(ip, ports::ECHO);
            let _server = EchoServer::start(&pod.ns, to)?;
            site.peer.done(&PeerRequest::Echo { to, bytes: LARGE })?;
        }
    }
    if let (Some(before), Some(after)) = (before, tso(&names)) {
        site.fact("large transfers: TSO packets sent", after - before);
        ensure!(after > before, "no packet was sent by TSO");
    }
    Ok(())
}

fn opened(site: &Site<'_>) -> anyhow::Result<()> {
    site.ready()?;
    for pod in site.pods.all() {
        for ip in pod.addresses() {
            let to = at(peer_of(ip), ports::ECHO);
            site.peer.done(&PeerRequest::Serve { address: to })?;
            let mut connection = EchoConnection::open(&pod.ns, at(ip, 0), to, PATIENCE)??;
            connection.echo(LARGE / 4)?;
            ensure!(
                connection.seen().ip() == ip,
                "the peer sees {}",
                connection.seen()
            );
            ensure!(
                connection.finish()? == b"bye",
                "the peer did not end the connection"
            );
        }
    }
    Ok(())
}
