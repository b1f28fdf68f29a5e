//! The loop: wait for something to change, then make one round.
//!
//! ```text
//! files   ─▶ policies, pods ─┐
//! cluster ─▶ policies, pods ─┤                                                         cluster ◀─ node's state ◀─┐
//!                            ├─▶ targets ─▶ (make interfaces ready) ─▶ compile ─▶ diff(installed) ─▶ apply ─▶ read back ─┘
//! netlink ─▶ facts ──────────┘
//! ```
//!
//! What is installed is read back in every round, so a round after a crash is a round like any other. Interfaces are
//! asked only when the kernel has announced a change of any, when something failed, and every now and then. What fails is
//! a problem, is shown, and is tried again.

mod flows;
mod interfaces;
mod nics;
mod pods;
mod problems;
mod round;
mod signals;
mod tables;
mod unready;

use std::{
    path::Path,
    sync::{
        Arc,
        mpsc::{
            Receiver, RecvTimeoutError, Sender, {self},
        },
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tracing::info;

use self::round::{Agent, Listeners, Look, Round};
use crate::{
    args,
    datapath::{Datapath, Settings},
    node::{netlink::Monitor, nic::NicSelector, system},
    report::{explain, serve},
    source::{ManifestSource, ObjectSource, cluster::Cluster},
};

/// What wakes the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Something in the manifests folder, or in the cluster, changed.
    Objects,
    /// Something about links, addresses or namespaces changed.
    Network,
    /// SIGTERM or SIGINT.
    Stop,
}

/// A burst of events makes one round.
const QUIET: Duration = Duration::from_millis(5);
/// A burst that does not end makes a round all the same.
const LONGEST_BURST: Duration = Duration::from_millis(100);
/// Without any event: look whether the kernel still holds what it should.
const RESYNC: Duration = Duration::from_secs(30);
/// First and longest pause before what failed is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Runs until SIGTERM or SIGINT. Everything stays in force afterwards.
pub(crate) fn run(args: &args::RunArgs) -> anyhow::Result<()> {
    let pin_dir = &args.pins.pin_dir;
    system::check_permissions()?;
    system::check_features(&system::probe_basics())?;
    system::check_bpffs(pin_dir)?;
    let (sender, events) = mpsc::channel();
    signals::forward(sender.clone())?;
    let listeners = Listeners::default();
    if let Some(listen) = args.listen {
        let Listeners { health, metrics, .. } = listeners.clone();
        let address = serve::start(listen, pin_dir.clone(), health, metrics)?;
        info!(%address, "probes and metrics are served");
    }
    let source = source(&args.source, &listeners, &sender)?;
    // A receiver that is gone means that the loop has ended.
    let woken = move || {
        let _ = sender.send(Event::Network);
    };
    let _monitor = Monitor::start(woken).context("changes of interfaces cannot be followed")?;
    let settings = Settings {
        rejects_per_second: args.rejects_per_second,
        flows: args.flows,
    };
    let datapath = open(pin_dir, settings)?;
    // Only who holds the directory may answer for it.
    explain::serve(pin_dir, Arc::clone(&listeners.known));
    let args::NicArgs { names, drivers, pci } = args.nics.clone();
    let selector = NicSelector {
        globs: names,
        drivers,
        pci,
        allow_generic: args.allow_generic,
    };
    follow(&mut Agent::new(datapath, source, selector, listeners), &events);
    info!("stopped; everything stays in force");
    Ok(())
}

fn source(
    args: &args::SourceArgs,
    listeners: &Listeners,
    sender: &Sender<Event>,
) -> anyhow::Result<ObjectSource> {
    if let Some(folder) = &args.manifests {
        let manifests = ManifestSource::follow(folder, sender.clone(), Event::Objects)?;
        return Ok(ObjectSource::Manifests(manifests));
    }
    let node = args
        .node_name
        .as_deref()
        .context("name a folder with --manifests, or this node with --node-name")?;
    let sender = sender.clone();
    // A receiver that is gone means that the loop has ended.
    let woken = move || {
        let _ = sender.send(Event::Objects);
    };
    let cluster = Cluster::follow(node, Arc::clone(&listeners.metrics), woken)?;
    Ok(ObjectSource::Cluster(Box::new(cluster)))
}

fn open(pin_dir: &Path, settings: Settings) -> anyhow::Result<Datapath> {
    let started = Instant::now();
    let datapath = Datapath::open_with(pin_dir, settings)?;
    let milliseconds = started.elapsed().as_millis() as u64;
    info!(pin_dir = %pin_dir.display(), milliseconds, "programs loaded, tables open");
    Ok(datapath)
}

fn follow(agent: &mut Agent, events: &Receiver<Event>) {
    let mut pause = RETRY.0;
    let mut look = Look::Everywhere;
    let mut resync = Instant::now() + RESYNC;
    loop {
        if look == Look::Everywhere {
            resync = Instant::now() + RESYNC;
        }
        let wait = match agent.round(look) {
            Round::Settled => {
                pause = RETRY.0;
                resync.saturating_duration_since(Instant::now())
            }
            Round::Incomplete => {
                let wait = pause;
                pause = (pause * 2).min(RETRY.1);
                wait
            }
        };
        let event = next(events, wait);
        if event == Some(Event::Stop) {
            return;
        }
        look = look_after(event, Instant::now() >= resync);
    }
}

/// Where to look after what has woken the loop, if anything has. `due`: it is time for a look at everything, however often
/// objects change.
const fn look_after(event: Option<Event>, due: bool) -> Look {
    match event {
        Some(Event::Objects) if !due => Look::AtObjects,
        _ => Look::Everywhere,
    }
}

/// Waits for the end of a burst of events, and returns the one that asks for most. `None`: there was none. A stop ends
/// the wait at once.
fn next(events: &Receiver<Event>, wait: Duration) -> Option<Event> {
    let first = match events.recv_timeout(wait) {
        Ok(event) => event,
        Err(RecvTimeoutError::Timeout) => return None,
        Err(RecvTimeoutError::Disconnected) => return Some(Event::Stop),
    };
    let latest = Instant::now() + LONGEST_BURST;
    let mut last = first;
    while last != Event::Stop && Instant::now() < latest {
        match events.recv_timeout(QUIET) {
            Ok(event) => last = last.max(event),
            Err(_) => break,
        }
    }
    Some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_looked_at_unless_only_objects_have_changed_and_then_every_now_and_then() {
        assert_eq!(look_after(Some(Event::Objects), false), Look::AtObjects);
        for (event, due) in [
            (Some(Event::Objects), true),
            (Some(Event::Network), false),
            (None, false),
        ] {
            assert_eq!(look_after(event, due), Look::Everywhere, "{event:?} {due}");
        }
    }

    #[test]
    fn a_burst_of_events_wakes_the_loop_once_and_a_stop_is_never_lost_in_it() {
        let (sender, events) = mpsc::channel();
        for event in [Event::Objects, Event::Network, Event::Objects] {
            sender.send(event).unwrap();
        }
        assert_eq!(next(&events, Duration::ZERO), Some(Event::Network));
        assert_eq!(next(&events, Duration::ZERO), None);

        for event in [Event::Network, Event::Stop, Event::Network] {
            sender.send(event).unwrap();
        }
        assert_eq!(next(&events, Duration::ZERO), Some(Event::Stop));
    }
}
