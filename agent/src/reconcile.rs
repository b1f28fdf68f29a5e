//! The loop: wait for something to change, then reconcile.
//!
//! ```text
//! files     ─▶ policies, pods ─┐
//! cluster   ─▶ policies, pods ─┼─▶ targets ─▶ compile ─▶ diff(installed) ─▶ apply ─▶ read back ─▶ status
//! netlink   ─▶ facts ──────────┘      ▲                        ▲                         │
//! hooks, GRO ─▶ attachments ──────────┴────────────────────────┴─────────────────────────┘
//! ```
//!
//! Tables are read back in every reconcile. Interfaces and hooks are read when the kernel reports a change of
//! interfaces, after a failure, and every 30 seconds. A reconcile after a crash is one like any other. What
//! fails is a problem, is shown, and is tried again.
//!
//! | file | what |
//! |---|---|
//! | `kernel` | the kernel as a trait; [`Datapath`] implements it, and a fake in the tests |
//! | `view` | what was read of interfaces and hooks |
//! | `converge` | compile → diff → apply, until nothing is left to change |
//! | `reconciler` | one reconcile, and what is kept until the next |
//! | `agent` | objects in, reports out |

mod agent;
mod conntrack;
mod converge;
mod flows;
mod kernel;
mod problem_log;
mod reconciler;
mod shutdown;
#[cfg(test)]
mod tests;
mod view;

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
use xdp_client::serve::ServedAddresses;
use xdp_plan::nics::NicSelector;

use self::{
    agent::{Agent, Listeners},
    reconciler::{Outcome, Resync},
};
use crate::{
    args,
    datapath::{Datapath, Settings},
    node::{netlink::Monitor, system},
    report::{explain, serve},
    source::{ManifestSource, Manifests, ObjectSource, cluster::Cluster},
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

/// A burst of events makes one reconcile.
const QUIET: Duration = Duration::from_millis(5);
/// A burst that does not end makes a reconcile all the same.
const LONGEST_BURST: Duration = Duration::from_millis(100);
/// Without any event: read whether the kernel still holds what it should.
const RESYNC: Duration = Duration::from_secs(30);
/// How often to look whether a program of another owner has come in front: one system call for each hook.
const ORDER: Duration = Duration::from_secs(1);
/// Longest pause between two turns of compiling. It is as long as the turn took: the loop leaves half of a
/// CPU to others.
const PAUSE: Duration = Duration::from_millis(100);
/// First and longest pause before what failed is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Runs until SIGTERM or SIGINT. Everything stays programmed afterwards.
pub(crate) fn run(args: &args::RunArgs) -> anyhow::Result<()> {
    let pin_dir = &args.pins.pin_dir;
    system::check_permissions()?;
    system::check_features(&system::probe_basics())?;
    system::check_pin_dir(pin_dir)?;
    let (sender, events) = mpsc::channel();
    shutdown::shutdown_signal(sender.clone())?;
    let listeners = Listeners::default();
    serve(args, &listeners)?;
    let source = source(args, &listeners, &sender)?;
    // A receiver that is gone means that the loop has ended.
    let woken = move || {
        let _ = sender.send(Event::Network);
    };
    let settings = Settings {
        rejects_per_second: args.rejects_per_second,
        flows: args.flows,
        mark_mask: args.rights.allowed_mark_mask,
    };
    let datapath = open(pin_dir, settings)?;
    let _monitor =
        Monitor::start(datapath.interests(), woken).context("changes of interfaces cannot be followed")?;
    // Only the agent that holds the directory may answer for it.
    let _socket = explain::serve(pin_dir, Arc::clone(&listeners.known));
    let args::NicArgs {
        names,
        drivers,
        virtual_functions,
        pci,
    } = args.nics.clone();
    let selector = NicSelector {
        globs: names,
        drivers,
        pci,
        virtual_functions,
        allow_generic: args.allow_generic,
    };
    let rules = (selector, args.rights.shares());
    follow(&mut Agent::new(datapath, source, rules, listeners), &events);
    info!("stopped; everything stays programmed");
    Ok(())
}

fn serve(args: &args::RunArgs, listeners: &Listeners) -> anyhow::Result<()> {
    let Listeners { health, metrics, .. } = listeners.clone();
    let has_api_server = args.source.manifests.is_none();
    let pin_dir = args.pins.pin_dir.clone();
    let ServedAddresses { probes, metrics } = serve::start(
        &args.listen,
        has_api_server,
        (pin_dir, args.series.into()),
        health,
        metrics,
    )?;
    for (what, address) in [("probes", probes), ("metrics", metrics)] {
        if let Some(address) = address {
            info!(what, %address, "serving HTTP");
        }
    }
    Ok(())
}

fn source(
    args: &args::RunArgs,
    listeners: &Listeners,
    sender: &Sender<Event>,
) -> anyhow::Result<ObjectSource> {
    let rights = &args.rights;
    if let Some(folder) = &args.source.manifests {
        let marks = rights.allowed_mark_mask;
        let manifests = ManifestSource::follow(folder, marks, sender.clone(), Event::Objects)?;
        return Ok(ObjectSource::Manifests(Box::new(Manifests::new(
            manifests, rights,
        ))));
    }
    let node = args
        .source
        .node_name
        .as_deref()
        .context("name a folder with --manifests, or this node with --node-name")?;
    let sender = sender.clone();
    // A receiver that is gone means that the loop has ended.
    let woken = move || {
        let _ = sender.send(Event::Objects);
    };
    let metrics = Arc::clone(&listeners.metrics);
    let cluster = Cluster::follow(node, args.namespace.as_deref(), rights, metrics, woken)?;
    Ok(ObjectSource::Cluster(Box::new(cluster)))
}

fn open(pin_dir: &Path, settings: Settings) -> anyhow::Result<Datapath> {
    let started = Instant::now();
    let datapath = Datapath::open_with(pin_dir, settings)?;
    let milliseconds = started.elapsed().as_millis() as u64;
    let stats = datapath.program_stats().unwrap_or_default();
    let instructions = stats.iter().filter_map(|program| {
        let verified = program.verified_instructions?;
        Some(format!("{} {verified}", program.name))
    });
    info!(
        pin_dir = %pin_dir.display(),
        milliseconds,
        verified_instructions = instructions.collect::<Vec<_>>().join(", "),
        "programs loaded, tables open"
    );
    Ok(datapath)
}

fn follow(agent: &mut Agent, events: &Receiver<Event>) {
    let mut backoff = RETRY.0;
    let mut resync = Resync::Full;
    let mut due = Instant::now() + RESYNC;
    loop {
        if resync == Resync::Full {
            due = Instant::now() + RESYNC;
        }
        let started = Instant::now();
        let outcome = agent.reconcile(resync);
        let wait = match outcome {
            Outcome::Done => {
                backoff = RETRY.0;
                due.saturating_duration_since(Instant::now())
            }
            Outcome::Pending => started.elapsed().min(PAUSE),
            Outcome::Requeue => {
                let wait = backoff;
                backoff = (backoff * 2).min(RETRY.1);
                wait
            }
        };
        let event = wait_for(events, wait, || agent.idle());
        if event == Some(Event::Stop) {
            return;
        }
        let goes_on = (outcome == Outcome::Pending).then_some(Event::Objects);
        resync = resync_after(event.or(goes_on), Instant::now() >= due);
    }
}

/// Waits for the end of a burst of events, and calls `idle` at first and now and then: whether the order of
/// programs has changed, which is an event, too.
fn wait_for(events: &Receiver<Event>, wait: Duration, mut idle: impl FnMut() -> bool) -> Option<Event> {
    let end = Instant::now() + wait;
    loop {
        if idle() {
            return Some(Event::Network);
        }
        let left = end.saturating_duration_since(Instant::now());
        let event = next(events, left.min(ORDER));
        if event.is_some() || left <= ORDER {
            return event;
        }
    }
}

/// What to read after the event that has woken the loop, if any has. `due`: it is time for a full resync,
/// however often objects change.
const fn resync_after(event: Option<Event>, due: bool) -> Resync {
    match event {
        Some(Event::Objects) if !due => Resync::Objects,
        _ => Resync::Full,
    }
}

/// Waits for the end of a burst of events, and returns the one that needs most. `None`: there was none. A
/// stop ends the wait at once.
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
