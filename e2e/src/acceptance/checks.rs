//! The checks, in the order in which they run.

mod attach;
mod balance;
mod data_path;
mod faults;
mod life;
mod mtu;
mod preflight;
mod queues;
mod refusal;
mod stacked;
mod tcp;
mod traffic;

use std::{
    io::BufReader,
    os::unix::net::UnixStream,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Instant,
};

use anyhow::Context as _;
use xdp_lab::{Lab, Namespace};

use super::{
    AcceptanceOptions, AcceptanceReport, Check, NotApplicable, Outcome, PeerConnection, PeerServer,
    host::{self},
    protocol::PeerRequest,
    site::{Site, adopt_nic},
};

/// A check: a fact, and the function that tries it.
struct Entry {
    name: String,
    run: Run,
}

/// Tries a check. An error is a failure, or says that it is not applicable.
type Run = fn(&Site<'_>) -> anyhow::Result<()>;

/// The end of the names of checks with cyclic receive queues.
const CYCLIC: &str = ", cyclic queues";

/// Words of checks that are the same with other receive queues.
const ONCE: [&str; 5] = [
    "pass to the stack",
    "on a bridge",
    "rate limit",
    "show the mark",
    "pods open",
];

/// Lists the checks of all modules.
fn all(site: &Site<'_>) -> Vec<Entry> {
    let named = |suffix: &'static str| {
        move |(name, run): &(&str, Run)| Entry {
            name: format!("{name}{suffix}"),
            run: *run,
        }
    };
    let once = [
        attach::FIRST,
        traffic::CHECKS,
        tcp::CHECKS,
        mtu::PER_QUEUE,
        data_path::PER_QUEUE,
        balance::PER_QUEUE,
    ];
    let mut all: Vec<Entry> = once.into_iter().flatten().map(named("")).collect();
    if site.is_mlx5() {
        // The other type of receive queue has other functions in the driver.
        let again = [
            queues::CYCLIC,
            traffic::CHECKS,
            tcp::CHECKS,
            mtu::PER_QUEUE,
            data_path::PER_QUEUE,
            balance::PER_QUEUE,
            queues::STRIDING,
        ];
        let again = again.into_iter().flatten();
        let again = again.filter(|(name, _)| !ONCE.iter().any(|once| name.contains(once)));
        all.extend(again.map(named(CYCLIC)));
    }
    let once = [
        life::CHECKS,
        data_path::CHECKS,
        preflight::CHECKS,
        stacked::CHECKS,
        faults::CHECKS,
        attach::LAST,
    ];
    all.extend(once.into_iter().flatten().map(named("")));
    all
}

/// Returns the checks whose name contains one of these words; without words, all. Checks of cyclic queues
/// bring those that change the queues.
fn chosen(all: Vec<Entry>, only: &[String]) -> Vec<Entry> {
    let is_named = |name: &str| only.is_empty() || only.iter().any(|only| name.contains(only));
    let is_cyclic = |name: &str| name.ends_with(CYCLIC);
    let has_cyclic = all
        .iter()
        .any(|entry| is_cyclic(&entry.name) && is_named(&entry.name));
    let changes = |name: &str| has_cyclic && is_cyclic(name) && name.contains("queues change");
    let mut all = all;
    all.retain(|entry| is_named(&entry.name) || changes(&entry.name));
    all
}

/// Runs the acceptance. Without a connection, the NIC is a veth pair, and the peer has its other end.
pub fn run(options: &AcceptanceOptions, peer: Option<PeerConnection>) -> anyhow::Result<AcceptanceReport> {
    let lab = Lab::new()?;
    if let Some(peer) = peer {
        let nic = adopt_nic(&lab, options)?.context("a peer needs a NIC")?;
        return run_at(&lab, options, &nic, peer);
    }
    let other = lab.namespace("peer")?;
    lab.node().wire("nic0", &other, "wire0")?;
    // The driver passes frames that a program sends back only to an end with a program.
    other.receive_xdp_tx("wire0")?;
    let (here, there) = UnixStream::pair()?;
    let peer = PeerConnection::new(here.try_clone()?, here);
    thread::scope(|scope| {
        scope.spawn(|| serve(&other, there));
        run_at(&lab, options, "nic0", peer)
    })
}

/// The connection ends with the acceptance, whose error is the one that counts.
fn serve(namespace: &Namespace, stream: UnixStream) {
    if let Ok(mut to) = stream.try_clone() {
        let _ = PeerServer::new(namespace, "wire0").serve(&mut BufReader::new(stream), &mut to);
    }
}

fn run_at(
    lab: &Lab,
    options: &AcceptanceOptions,
    nic: &str,
    peer: PeerConnection,
) -> anyhow::Result<AcceptanceReport> {
    let site = Site::new(lab, options, nic, peer)?;
    let mut report = AcceptanceReport::default();
    for entry in &chosen(all(&site), &options.only) {
        // The check fails if this does.
        let _ = site.ensure_connected();
        let check = try_check(&site, entry);
        site.peer
            .done(&PeerRequest::Checked(serde_json::to_value(&check)?))?;
        report.checks.push(check);
    }
    report.subject = subject(&site);
    report.facts = site.facts.take();
    site.peer
        .done(&PeerRequest::Report(serde_json::to_value(&report)?))?;
    Ok(report)
}

fn try_check(site: &Site<'_>, entry: &Entry) -> Check {
    let start = Instant::now();
    let run = || {
        if entry.name.ends_with(CYCLIC) {
            queues::are_as_named(site, &entry.name)?;
        }
        (entry.run)(site)
    };
    let result = catch_unwind(AssertUnwindSafe(run));
    let outcome = match result {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(error)) => match error.downcast::<NotApplicable>() {
            Ok(why) => Outcome::NotApplicable(why.0),
            Err(error) => Outcome::Failed(with_log(site, &format!("{error:#}"))),
        },
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Outcome::Failed(text.unwrap_or_else(|| "a panic".to_owned()))
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    Check {
        name: entry.name.clone(),
        outcome,
        seconds,
    }
}

/// The end of the agent's log explains most failures.
fn with_log(site: &Site<'_>, error: &str) -> String {
    const LINES: usize = 15;
    let log = site.agent().log();
    let lines: Vec<&str> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    format!("{error}\nthe agent's log:\n{}", last.join("\n"))
}

fn subject(site: &Site<'_>) -> std::collections::BTreeMap<String, String> {
    let node = site.lab.node();
    let about = host::command(node, &format!("ethtool -i {}", site.nic)).unwrap_or_default();
    let mut about = host::key_values(&about);
    let mut known = std::collections::BTreeMap::new();
    let mut add = |key: &str, value: Option<String>| known.extend(value.map(|value| (key.to_owned(), value)));
    add("kernel", Some(host::kernel()));
    add("peer's kernel", Some(site.other.kernel.clone()));
    for key in ["driver", "version", "firmware-version", "bus-info"] {
        add(key, about.remove(key).filter(|value| !value.is_empty()));
    }
    add("nic", Some(site.nic.clone()));
    if site.is_mlx5() {
        let flags = host::command(node, &format!("ethtool --show-priv-flags {}", site.nic));
        let mut flags = host::key_values(&flags.unwrap_or_default());
        add("rx_striding_rq", flags.remove("rx_striding_rq"));
    }
    add(
        "agent",
        site.agent()
            .call(&["--version"])
            .ok()
            .map(|finished| finished.stdout.trim().to_owned()),
    );
    known
}
