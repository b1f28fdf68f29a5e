//! The frames of the wire, as the card counts them, and as the driver does.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use xdp_lab::EchoServer;

use super::{
    super::{
        host::statistics,
        protocol::PeerRequest,
        site::{PATIENCE, Site, at, ports},
    },
    Run,
    faults::needs_card,
    traffic::arrive_marked,
};

pub(super) const PER_QUEUE: &[(&str, Run)] = &[(
    "the driver's counters have every frame of the wire, both ways",
    every_frame,
)];

const PACKETS: u64 = 100;
const RATE: u32 = 1000;
/// Sent back in many segments.
const LARGE: usize = 1 << 20;

type Counters = BTreeMap<String, u64>;

/// Frames that the card did not give to a queue.
const NOT_RECEIVED: [&str; 7] = [
    "unmatched",
    "dropped by rule",
    "queue not ready",
    "out of buffer",
    "too long",
    "too short",
    "link down",
];

/// Counters of both at a time when no frame was under way.
struct Balance {
    card: Counters,
    driver: Counters,
}

impl Balance {
    /// Waits until the card counts nothing while the driver's counters are read.
    fn now(site: &Site<'_>) -> anyhow::Result<Self> {
        let mut quiet = None;
        xdp_lab::wait_until("no frame is under way", PATIENCE, || {
            let before = site.peer.counters().ok();
            let driver = statistics(site.lab.node(), &site.nic);
            let card = site.peer.counters().ok();
            quiet = (before == card)
                .then_some(card)
                .flatten()
                .map(|card| (card, driver));
            quiet.is_some()
        })?;
        let (card, driver) = quiet.context("the card does not say what it has counted")?;
        Ok(Self { card, driver })
    }

    /// Frames from the wire since `before`: those that the card gave to a queue, and those of the driver.
    fn received(&self, before: &Self) -> (u64, u64) {
        let lost: u64 = NOT_RECEIVED
            .iter()
            .map(|name| grown(&before.card, &self.card, name))
            .sum();
        let received = grown(&before.card, &self.card, "received");
        (
            received.saturating_sub(lost),
            self.of_driver(
                before,
                &["rx_packets", "rx_xdp_drop", "rx_xdp_redirect", "rx_xdp_tx_xmit"],
            ),
        )
    }

    /// Frames to the wire since `before`.
    fn sent(&self, before: &Self) -> (u64, u64) {
        let names = ["tx_packets", "rx_xdp_tx_xmit", "tx_xdp_xmit"];
        (
            grown(&before.card, &self.card, "sent"),
            self.of_driver(before, &names),
        )
    }

    fn of_driver(&self, before: &Self, names: &[&str]) -> u64 {
        names
            .iter()
            .map(|name| grown(&before.driver, &self.driver, name))
            .sum()
    }
}

fn grown(before: &Counters, after: &Counters, name: &str) -> u64 {
    let of = |counters: &Counters| counters.get(name).copied().unwrap_or(0);
    of(after).saturating_sub(of(before))
}

/// Redirected, dropped, rejected, and a transfer with replies past the stack: what the card has counted, the
/// driver has, too. Frames that are not of this check are no exception.
fn every_frame(site: &Site<'_>) -> anyhow::Result<()> {
    needs_card(site)?;
    site.ready()?;
    let before = Balance::now(site)?;
    arrive_marked(site)?;
    for ip in site.pods.ptp.addresses() {
        site.peer.datagrams(at(ip, ports::DROP), PACKETS, RATE)?;
        site.peer.send(vec![site.flow(ip, ports::REJECT)?.syn(); 20])?;
        let to = at(ip, ports::ECHO);
        let _server = EchoServer::start(&site.pods.ptp.ns, to)?;
        site.peer.done(&PeerRequest::Echo { to, bytes: LARGE })?;
    }
    let after = Balance::now(site)?;
    for (what, (card, driver)) in [
        ("received", after.received(&before)),
        ("sent", after.sent(&before)),
    ] {
        ensure!(
            card == driver && card > 2 * PACKETS,
            "the card has {what} {card} frames, and the driver {driver}"
        );
    }
    Ok(())
}
