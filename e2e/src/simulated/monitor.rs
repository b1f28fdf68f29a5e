//! Observes whether the operator keeps its lease, and answers probes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{
        JoinHandle, {self},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use xdp_lab::{HttpRequest, HttpSession};

use super::{RELEASE_NAMESPACE, SERVER, SimulatedCluster, TIMEOUT, operator::PROBES};

/// Time between two observations.
const INTERVAL: Duration = Duration::from_millis(100);

/// How punctual the operator was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Punctuality {
    /// The longest time between two renewals of its lease; the leader stops after 10 s, and another one
    /// takes the lease after 15 s.
    pub lease: Duration,
    /// The slowest answer to `/healthz`.
    pub probe: Duration,
    /// Answers to `/healthz` other than success, and missing ones.
    pub failed_probes: u32,
}

/// Observes in the background until it is stopped.
#[derive(Debug)]
pub struct PunctualityMonitor {
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<Result<Punctuality>>>,
}

impl PunctualityMonitor {
    /// Starts to observe an operator that leads.
    pub fn start(simulated: &SimulatedCluster) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, from) = (Arc::clone(&stop), simulated.cluster().control().clone());
        let work = move || {
            from.run(|| {
                thread::scope(|scope| {
                    // An observation of one must not wait for the other.
                    let probes = scope.spawn(|| probes(&stopped));
                    let lease = lease(&stopped);
                    let (probe, failed_probes) = probes.join().ok().context("panicked")?;
                    Ok(Punctuality {
                        lease,
                        probe,
                        failed_probes,
                    })
                })
            })?
        };
        Self {
            stop,
            worker: Some(thread::spawn(work)),
        }
    }

    /// Stops, and returns what was observed.
    pub fn stop(mut self) -> Result<Punctuality> {
        self.stop.store(true, Ordering::Relaxed);
        let worker = self.worker.take().context("it runs until it is stopped")?;
        worker.join().ok().context("the monitor panicked")?
    }
}

impl Drop for PunctualityMonitor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn probes(stopped: &AtomicBool) -> (Duration, u32) {
    let (mut slowest, mut failed) = (Duration::ZERO, 0);
    // The constant is an address.
    let server: SocketAddr = PROBES.parse().unwrap_or(SERVER);
    while !stopped.load(Ordering::Relaxed) {
        let start = Instant::now();
        // Like the kubelet, with a connection for each probe.
        let reply = HttpSession::new(server, TIMEOUT).send(&HttpRequest::get("/healthz"));
        slowest = slowest.max(start.elapsed());
        failed += u32::from(!reply.is_ok_and(|reply| reply.status == 200));
        thread::sleep(INTERVAL);
    }
    (slowest, failed)
}

fn lease(stopped: &AtomicBool) -> Duration {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{RELEASE_NAMESPACE}/leases/xdp-operator");
    let session = HttpSession::new(SERVER, TIMEOUT);
    let (mut longest, mut renewed, mut last) = (Duration::ZERO, Instant::now(), Value::Null);
    while !stopped.load(Ordering::Relaxed) {
        let asked = Instant::now();
        longest = longest.max(asked - renewed);
        // A busy API server may fail: then the renewal is seen with the next answer.
        if let Some(renewal) = renewal(&session, &path).filter(|renewal| *renewal != last) {
            (last, renewed) = (renewal, asked);
        }
        thread::sleep(INTERVAL);
    }
    longest
}

/// Returns when the lease was renewed, if the API server says it.
fn renewal(session: &HttpSession, path: &str) -> Option<Value> {
    let reply = session.send(&HttpRequest::get(path)).ok()?;
    let mut lease: Value = serde_json::from_str(&reply.body).ok()?;
    let renewal = lease["spec"]["renewTime"].take();
    renewal.is_string().then_some(renewal)
}
