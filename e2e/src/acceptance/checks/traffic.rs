//! Every action, IPv4 and IPv6, counted by peer, driver, program and pod.

use std::time::Instant;

use anyhow::{bail, ensure};
use xdp_lab::{LabPod, UdpReceiver};

use super::{
    super::{
        frames::{Answer, answer},
        not_applicable,
        protocol::PeerRequest,
        site::{LIMIT_BURST, MARK, PATIENCE, Site, at, ports},
    },
    Run,
};

pub(super) const CHECKS: &[(&str, Run)] = &[
    (
        "datagrams are redirected into a pod with a host route, with their mark",
        ptp,
    ),
    (
        "datagrams are redirected into a pod on a bridge, with their mark",
        bridge,
    ),
    ("datagrams pass to the stack", pass),
    ("datagrams are dropped", drops),
    (
        "rejected packets are answered on the wire by RST and ICMP errors",
        rejects,
    ),
    ("a rate limit lets its burst through", limit),
    (
        "delivery Peer takes datagrams from tc into a pod, with their mark",
        deliver_peer,
    ),
];

const PACKETS: u64 = 200;
/// Slow enough for an emulated machine to lose none.
const RATE: u32 = 1000;

/// Sends datagrams to both addresses of a pod, and checks that all arrive, with this mark.
fn arrive(site: &Site<'_>, pod: &LabPod, port: u16, mark: u32) -> anyhow::Result<u64> {
    let mut all = 0;
    for ip in pod.addresses() {
        let inbox = UdpReceiver::bind(&pod.ns, at(ip, port))?;
        let sent = site.peer.datagrams(at(ip, port), PACKETS, RATE)?;
        let Ok(received) = inbox.wait_for(sent, PATIENCE) else {
            bail!(
                "{sent} datagrams were sent to {ip}, and {:?} arrived",
                inbox.received()
            );
        };
        ensure!(
            received.marks.iter().eq([(&mark, &sent)]),
            "{sent} were sent to {ip}; they arrived with these marks: {:?}",
            received.marks
        );
        all += sent;
    }
    Ok(all)
}

/// Checks that datagrams are redirected with their mark.
pub(super) fn arrive_marked(site: &Site<'_>) -> anyhow::Result<()> {
    arrive(site, &site.pods.ptp, ports::REDIRECT, site.mark()).map(drop)
}

/// Sends until a datagram has the mark. The status does not show that the agent has followed a change of
/// links; until then, the stack delivers.
pub(super) fn followed(
    site: &Site<'_>,
    inbox: &UdpReceiver,
    send: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut datagrams = 0;
    xdp_lab::wait_until("the agent has followed the change", PATIENCE, || {
        datagrams += u64::from(send().is_ok());
        inbox.received().marks.contains_key(&site.mark())
    })?;
    inbox.wait_for(datagrams, PATIENCE)?;
    inbox.reset();
    Ok(())
}

/// Like [`arrive_marked`], once the agent has followed a change of links. Between the parts of the change it
/// may redirect, and then not. Lost datagrams are a failure at any time: waiting for them takes all the
/// patience.
pub(super) fn arrive_marked_soon(site: &Site<'_>) -> anyhow::Result<()> {
    let mut last = Ok(());
    let waited = xdp_lab::wait_until("all datagrams have their mark", PATIENCE, || {
        last = arrive_marked(site);
        last.is_ok()
    });
    last?;
    Ok(waited?)
}

/// Without metadata, the stack delivers.
pub(super) fn needs_metadata(site: &Site<'_>) -> anyhow::Result<()> {
    if site.mark() == MARK {
        return Ok(());
    }
    arrive_marked(site)?;
    Err(not_applicable(
        "the driver takes no metadata: the packets pass to the stack",
    ))
}

fn redirected(site: &Site<'_>, pod: &LabPod) -> anyhow::Result<()> {
    site.ready()?;
    needs_metadata(site)?;
    let counting = site.count("players")?;
    let sent = arrive(site, pod, ports::REDIRECT, MARK)?;
    counting.rule(&[("redirected", sent), ("delivered", sent)])?;
    counting.driver_agrees("rx_xdp_redirect", sent)
}

fn ptp(site: &Site<'_>) -> anyhow::Result<()> {
    redirected(site, &site.pods.ptp)
}

fn bridge(site: &Site<'_>) -> anyhow::Result<()> {
    redirected(site, &site.pods.bridge)
}

fn pass(site: &Site<'_>) -> anyhow::Result<()> {
    site.ready()?;
    let counting = site.count("passed")?;
    let sent = arrive(site, &site.pods.ptp, ports::PASS, 0)?;
    counting.rule(&[("passed", sent)])?;
    counting.driver_agrees("rx_xdp_drop", 0)
}

fn drops(site: &Site<'_>) -> anyhow::Result<()> {
    site.ready()?;
    let counting = site.count("dropped")?;
    let mut sent = 0;
    for ip in site.pods.ptp.addresses() {
        let inbox = UdpReceiver::bind(&site.pods.ptp.ns, at(ip, ports::DROP))?;
        let before = sent;
        sent += site.peer.datagrams(at(ip, ports::DROP), PACKETS, RATE)?;
        counting.rule(&[("dropped", sent)])?;
        ensure!(
            inbox.received().packets == 0,
            "{} of {} arrived",
            inbox.received().packets,
            sent - before
        );
    }
    counting.driver_agrees("rx_xdp_drop", sent)
}

fn rejects(site: &Site<'_>) -> anyhow::Result<()> {
    const EACH: usize = 20;
    site.ready()?;
    let counting = site.count("rejected")?;
    site.peer.done(&PeerRequest::Capture(true))?;
    for ip in site.pods.ptp.addresses() {
        let flow = site.flow(ip, ports::REJECT)?;
        let errors = if ip.is_ipv4() {
            Answer::Icmp(3, 13)
        } else {
            Answer::Icmp(1, 1)
        };
        for (frame, expected) in [(flow.syn(), Answer::Reset), (flow.udp(b"request"), errors)] {
            site.peer.send(vec![frame; EACH])?;
            let frames = site.peer.take(ip, EACH, 5000)?;
            let right = frames.iter().filter(|frame| answer(frame) == expected).count();
            ensure!(
                (right, frames.len()) == (EACH, EACH),
                "{EACH} packets to {ip}: {right} of {} answers are {expected:?}; the first is {:02x?}",
                frames.len(),
                frames.first()
            );
        }
    }
    site.peer.done(&PeerRequest::Capture(false))?;
    let all = 4 * EACH as u64;
    counting.rule(&[("rejected", all)])?;
    counting.driver_agrees("rx_xdp_tx_xmit", all)?;
    for ip in site.pods.ptp.addresses() {
        let connect = PeerRequest::Connect {
            to: at(ip, ports::REJECT),
            limit_ms: 10_000,
        };
        let errno = site.peer.errno(&connect)?;
        ensure!(
            errno == Some(libc::ECONNREFUSED),
            "a client of {ip} gets errno {errno:?}"
        );
        // `icmp_err_convert` in net/ipv4/icmp.c, `tab_unreach` in net/ipv6/icmp.c
        let expected = if ip.is_ipv4() {
            libc::EHOSTUNREACH
        } else {
            libc::EACCES
        };
        let errno = site.peer.errno(&PeerRequest::Provoke {
            to: at(ip, ports::REJECT),
        })?;
        ensure!(
            errno == Some(expected),
            "a UDP client of {ip} gets errno {errno:?}"
        );
    }
    Ok(())
}

fn limit(site: &Site<'_>) -> anyhow::Result<()> {
    site.ready()?;
    needs_metadata(site)?;
    let counting = site.count("limited")?;
    let to = at(site.pods.bridge.v4(), ports::LIMIT);
    let inbox = UdpReceiver::bind(&site.pods.bridge.ns, to)?;
    let start = Instant::now();
    let sent = site.peer.datagrams(to, PACKETS, RATE)?;
    site.wait_for("all are counted", |_| {
        let count = |field| counting.since(field).unwrap_or(0);
        count("redirected") + count("limited") == sent
    })?;
    let through = counting.since("redirected")?;
    inbox.wait_for(through, PATIENCE)?;
    // One a second is earned meanwhile, and earlier runs may have used the burst.
    let most = LIMIT_BURST + start.elapsed().as_secs() + 1;
    ensure!(
        through <= most && through > 0,
        "{through} of {sent} arrived, and {most} are allowed"
    );
    ensure!(inbox.received().packets == through, "{:?}", inbox.received());
    Ok(())
}

fn deliver_peer(site: &Site<'_>) -> anyhow::Result<()> {
    site.ready()?;
    needs_metadata(site)?;
    site.wait_for("the NIC delivers to pods", |status| {
        status.json()["nics"][0]["peer"] == true
    })?;
    let counting = site.count("bulk")?;
    let sent = arrive(site, &site.pods.bulk, ports::REDIRECT, MARK)?;
    counting.rule(&[("redirected", sent), ("delivered", sent)])
}
