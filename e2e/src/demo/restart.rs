//! The agent is killed while packets flow, and started again.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
};

use anyhow::{Context as _, ensure};
use xdp_lab::{Received, Stream, UdpReceiver, UdpSender, wait_until};

use super::{
    clients::{self, PATIENCE},
    ledger::Counted,
    page::Page,
    world::World,
};
use crate::Agent;

const RULE: &str = "players";
const MARK: u32 = 42;

/// So many at least before the kill, while no agent runs, and after the restart.
const EACH: u64 = 20_000;
/// And so many in all.
const TOTAL: u64 = 100_000;

/// A client that sends until told to stop.
#[derive(Default)]
struct Flow {
    sent: AtomicU64,
    stop: AtomicBool,
}

/// Stops the flow however its user ends.
struct Stop<'a>(&'a Flow);

/// How many had been sent when something happened.
struct Moments {
    killed: u64,
    started: u64,
    ready: u64,
}

pub(super) fn show(
    page: &Page,
    world: &World,
    agent: &mut Agent<'_>,
    receiver: &UdpReceiver,
) -> anyhow::Result<bool> {
    let mut sender = clients::sender(world, None, receiver.address())?;
    receiver.reset();
    let before = agent.status().context("the agent gives no status")?;
    let flow = Flow::default();
    let moments = thread::scope(|scope| {
        let client = scope.spawn(|| flow.run(&mut sender));
        let moments = {
            let _stop = Stop(&flow);
            flow.disturb(agent)
        };
        client
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        moments
    })?;
    // In vain is an answer too.
    let _ = receiver.wait_for(sender.sent(), PATIENCE);
    let after = agent.status().context("the agent gives no status")?;
    let result = Outcome {
        moments,
        sent: sender.sent(),
        redirected: Counted::of(&after, RULE)
            .since(&Counted::of(&before, RULE))
            .redirected(),
        stream: receiver.stream(sender.stream()),
        received: receiver.received(),
        programs: [before, after].map(|status| status.program_id(&world.nic.name)),
    };
    result.print(page);
    Ok(result.is_good())
}

struct Outcome {
    moments: Moments,
    sent: u64,
    redirected: u64,
    stream: Stream,
    received: Received,
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
            self.programs[0].is_some() && self.programs[0] == self.programs[1],
        ]
    }

    fn is_good(&self) -> bool {
        self.checks().iter().all(|good| *good)
    }

    fn print(&self, page: &Page) {
        let [redirected, received, marked, adopted] = self.checks().map(|good| if good { '✓' } else { '✗' });
        let Moments {
            killed,
            started,
            ready,
        } = self.moments;
        let program = |id: Option<u64>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        page.lines(&[
            format!("datagram {killed:>7}   kill -9 of the agent"),
            format!("datagram {started:>7}   status: agent stopped, program still attached; the agent is started again"),
            format!("datagram {ready:>7}   all ready again"),
            format!("datagram {:>7}   the client stops", self.sent),
            String::new(),
            format!("sent by the client      {:>7}   {} of them while no agent ran", self.sent, started - killed),
            format!("redirected on the NIC   {:>7} {redirected}", self.redirected),
            format!(
                "received by the pod     {:>7} {received} lost {}, duplicates {}",
                self.received.packets,
                self.stream.lost(self.sent),
                self.stream.duplicates
            ),
            format!("with mark {MARK:<13} {:>7} {marked}", self.marked()),
            format!("program on the NIC      {:>7} {adopted} before, {} after: adopted, not replaced",
                program(self.programs[0]), program(self.programs[1])),
        ]);
    }
}

impl Flow {
    fn run(&self, sender: &mut UdpSender) -> anyhow::Result<()> {
        while !self.stop.load(Relaxed) {
            clients::send(sender, clients::BURST)?;
            self.sent.store(sender.sent(), Relaxed);
        }
        Ok(())
    }

    fn disturb(&self, agent: &mut Agent<'_>) -> anyhow::Result<Moments> {
        self.reach(EACH)?;
        agent.kill()?;
        let killed = self.sent.load(Relaxed);
        self.reach(killed + EACH)?;
        let stopped = agent.status().context("no status without an agent")?;
        ensure!(!stopped.running(), "the status says that the killed agent runs");
        agent.start()?;
        let started = self.sent.load(Relaxed);
        agent.wait_for("the agent is back", |status| {
            status.running() && ["game-0", "web-0"].iter().all(|pod| status.ready(pod))
        });
        let ready = self.sent.load(Relaxed);
        self.reach((ready + EACH).max(TOTAL))?;
        Ok(Moments {
            killed,
            started,
            ready,
        })
    }

    /// Waits until so many were sent.
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
