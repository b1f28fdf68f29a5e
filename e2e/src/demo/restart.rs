//! Kills the agent during traffic, and starts it again.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
};

use anyhow::{Context as _, ensure};
use xdp_lab::{Datagrams, UdpReceiver, UdpSender, UdpStream, wait_until};

use super::{
    clients::{
        PATIENCE, {self},
    },
    ledger::Counted,
    page::Page,
    setup::Setup,
};
use crate::Agent;

const RULE: &str = "players";
const MARK: u32 = 42;

/// The least number of packets before the kill, while no agent runs, and after the restart.
const EACH: u64 = 20_000;
/// The least number of packets in total.
const TOTAL: u64 = 100_000;

/// A client that sends until `stop` is set.
#[derive(Default)]
struct Sending {
    sent: AtomicU64,
    stop: AtomicBool,
}

/// Stops the client on drop, so also after an error.
struct Stop<'a>(&'a Sending);

/// How many packets the client had sent at each step.
struct Moments {
    killed: u64,
    /// Whether the program was attached while no agent ran.
    attached: bool,
    started: u64,
    ready: u64,
}

pub(super) fn show(
    page: &Page,
    setup: &Setup,
    agent: &mut Agent<'_>,
    receiver: &UdpReceiver,
) -> anyhow::Result<bool> {
    let mut sender = clients::sender(setup, None, receiver.address())?;
    receiver.reset();
    let before = agent.status().context("cannot read the status")?;
    let flow = Sending::default();
    let moments = thread::scope(|scope| {
        let client = scope.spawn(|| flow.run(&mut sender));
        let moments = {
            let _stop = Stop(&flow);
            flow.disturb(agent, &setup.nic.name)
        };
        client
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        moments
    })?;
    // The outcome reports missing datagrams.
    let _ = receiver.wait_for(sender.sent(), PATIENCE);
    let after = agent.status().context("cannot read the status")?;
    let result = Outcome {
        moments,
        sent: sender.sent(),
        redirected: Counted::of(&after, RULE)
            .since(&Counted::of(&before, RULE))
            .redirected(),
        stream: receiver.stream(sender.stream()),
        received: receiver.received(),
        programs: [before, after].map(|status| status.program_id(&setup.nic.name)),
    };
    result.print(page);
    Ok(result.is_good())
}

struct Outcome {
    moments: Moments,
    sent: u64,
    redirected: u64,
    stream: UdpStream,
    received: Datagrams,
    programs: [Option<u64>; 2],
}

impl Outcome {
    fn marked(&self) -> u64 {
        self.received.marks.get(&MARK).copied().unwrap_or(0)
    }

    fn checks(&self) -> [bool; 4] {
        [
            self.redirected == self.sent,
            self.received.packets == self.sent
                && self.stream.lost(self.sent) == 0
                && self.stream.duplicates == 0,
            self.marked() == self.received.packets,
            self.moments.attached && self.programs[0].is_some() && self.programs[0] == self.programs[1],
        ]
    }

    fn is_good(&self) -> bool {
        self.checks().iter().all(|good| *good)
    }

    fn print(&self, page: &Page) {
        let [redirected, received, marked, adopted] = self.checks().map(|good| if good { '✓' } else { '✗' });
        let sent = self.sent;
        self.moments.print(page, sent);
        let without = self.moments.started - self.moments.killed;
        let program = |id: Option<u64>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        let [before, after] = self.programs.map(program);
        let (lost, duplicates) = (self.stream.lost(sent), self.stream.duplicates);
        let arrived = self.received.packets;
        page.lines(&[
            format!("  client  {sent:>7} sent, {without} of them while no agent was running"),
            format!("{redirected} NIC     {:>7} redirected", self.redirected),
            format!("{received} pod     {arrived:>7} received: {lost} lost, {duplicates} duplicates"),
            format!("{marked} mark    {:>7} arrived with mark {MARK}", self.marked()),
            format!("{adopted} program {before:>7} before, {after} after: the new agent adopts the attached program"),
        ]);
    }
}

impl Moments {
    fn print(&self, page: &Page, sent: u64) {
        let program = if self.attached {
            "stays attached"
        } else {
            "is not attached"
        };
        page.lines(&[
            format!(
                "packet {:>7}  kill -9; the agent is stopped, the program {program}",
                self.killed
            ),
            format!("packet {:>7}  the agent starts again", self.started),
            format!(
                "packet {:>7}  the agent is running, all pods are ready",
                self.ready
            ),
            format!("packet {sent:>7}  the client stops"),
            String::new(),
        ]);
    }
}

impl Sending {
    fn run(&self, sender: &mut UdpSender) -> anyhow::Result<()> {
        while !self.stop.load(Relaxed) {
            clients::send(sender, clients::BURST)?;
            self.sent.store(sender.sent(), Relaxed);
        }
        Ok(())
    }

    fn disturb(&self, agent: &mut Agent<'_>, nic: &str) -> anyhow::Result<Moments> {
        self.reach(EACH)?;
        agent.kill()?;
        let killed = self.sent.load(Relaxed);
        self.reach(killed + EACH)?;
        let stopped = agent
            .status()
            .context("cannot read the status without an agent")?;
        ensure!(!stopped.running(), "the status shows the killed agent as running");
        let attached = stopped.nic_mode(nic) == Some("Native");
        agent.start()?;
        let started = self.sent.load(Relaxed);
        agent.wait_for("the agent is running again", |status| {
            status.running() && ["game-0", "web-0"].iter().all(|pod| status.ready(pod))
        });
        let ready = self.sent.load(Relaxed);
        self.reach((ready + EACH).max(TOTAL))?;
        Ok(Moments {
            killed,
            attached,
            started,
            ready,
        })
    }

    /// Waits until the client has sent this many packets.
    fn reach(&self, packets: u64) -> anyhow::Result<()> {
        let sent = || self.sent.load(Relaxed) >= packets;
        wait_until(&format!("{packets} datagrams are sent"), PATIENCE * 6, sent)?;
        Ok(())
    }
}

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
    }
}
