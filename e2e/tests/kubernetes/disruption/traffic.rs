//! Traffic in the background of a test, at the rate of its receivers.
//!
//! There are never more datagrams in flight than the rings on the path (256 in a veth) and the pods' sockets
//! hold. So a missing datagram was lost because of the test, not because of a busy machine.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use xdp_e2e::installed::{ClusterPod, http_get};
use xdp_lab::{Namespace, UdpSender, wait_until};

/// Interval between two datagrams of a flow.
const INTERVAL: Duration = Duration::from_millis(1);
/// Datagrams that are sent before the sender queries how many arrived.
const BATCH: u64 = 50;
/// A datagram that has not arrived after this time is lost.
const LOST_AFTER: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(3);
/// For a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// Datagrams to all addresses of some pods, one flow for each address.
pub(crate) struct Traffic<'a> {
    flows: Vec<Flow<'a>>,
    began: Instant,
    over: AtomicBool,
}

struct Flow<'a> {
    pod: &'a ClusterPod<'a>,
    to: SocketAddr,
    stream: u32,
    /// Datagrams that were sent, and have arrived or are lost.
    completed: AtomicU64,
    /// Incomplete batches: when they were sent, and how many datagrams are missing.
    gaps: Mutex<Vec<(Duration, u64)>>,
}

/// Sends to all pods while `during` runs. Afterwards every datagram must have arrived exactly once.
pub(crate) fn under_traffic<'a, T>(
    from: &Namespace,
    pods: &'a [ClusterPod<'a>],
    during: impl FnOnce(&Traffic<'a>) -> T,
) -> (T, Traffic<'a>) {
    let all = pods.iter().flat_map(|pod| {
        pod.addresses
            .iter()
            .map(move |ip| (pod, SocketAddr::new(*ip, 7777)))
    });
    let (flows, senders) = all
        .map(|(pod, to)| flow(from, pod, to))
        .unzip::<_, _, _, Vec<_>>();
    let traffic = Traffic {
        flows,
        began: Instant::now(),
        over: AtomicBool::new(false),
    };
    let result = thread::scope(|scope| {
        let _end = End(&traffic.over);
        for (flow, sender) in traffic.flows.iter().zip(senders) {
            let traffic = &traffic;
            scope.spawn(move || traffic.send(flow, sender));
        }
        traffic.send_more(BATCH);
        during(&traffic)
    });
    traffic.expect_all_arrived();
    (result, traffic)
}

fn flow<'a>(from: &Namespace, pod: &'a ClusterPod<'a>, to: SocketAddr) -> (Flow<'a>, UdpSender) {
    let sender = UdpSender::new(from, to).unwrap();
    let flow = Flow {
        pod,
        to,
        stream: sender.stream(),
        completed: AtomicU64::new(0),
        gaps: Mutex::default(),
    };
    (flow, sender)
}

/// Stops the senders when dropped, also when the test panics.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Traffic<'_> {
    /// Waits until every flow has sent `packets` more, and they have arrived or are lost.
    pub(crate) fn send_more(&self, packets: u64) {
        let completed = |flow: &Flow<'_>| flow.completed.load(Ordering::Relaxed);
        let goals: Vec<u64> = self.flows.iter().map(|flow| completed(flow) + packets).collect();
        wait_until("the traffic continues", PATIENCE, || {
            self.flows
                .iter()
                .zip(&goals)
                .all(|(flow, goal)| completed(flow) >= *goal)
        })
        .unwrap();
    }

    /// Returns how many datagrams were sent to a pod.
    pub(crate) fn sent_to(&self, pod: &ClusterPod<'_>) -> u64 {
        let flows = self.flows.iter().filter(|flow| flow.pod.name == pod.name);
        flows.map(|flow| flow.completed.load(Ordering::Relaxed)).sum()
    }

    fn send(&self, flow: &Flow<'_>, mut sender: UdpSender) {
        let mut lost = 0;
        while !self.over.load(Ordering::Relaxed) {
            let at = self.began.elapsed();
            for _ in 0..BATCH {
                sender.send_one().unwrap();
                thread::sleep(INTERVAL);
            }
            let missing = flow.missing(sender.sent() - lost);
            if missing > 0 {
                lost += missing;
                let mut gaps = flow.gaps.lock().unwrap_or_else(PoisonError::into_inner);
                gaps.push((at, missing));
            }
            flow.completed.store(sender.sent(), Ordering::Relaxed);
        }
    }

    fn expect_all_arrived(&self) {
        let mut total = 0;
        for flow in &self.flows {
            let counts = flow.pod.counts().unwrap();
            let sent = flow.completed.load(Ordering::Relaxed);
            let (distinct, duplicates) = counts.streams.get(&flow.stream).copied().unwrap_or_default();
            let gaps = flow.gaps.lock().unwrap_or_else(PoisonError::into_inner);
            assert_eq!(
                (sent - distinct, duplicates, counts.overflowed),
                (0, 0, 0),
                "(lost, duplicates, overflowed) of {sent} sent to {}, {}; incomplete batches: {gaps:?}; {counts:?}",
                flow.pod.name,
                flow.to
            );
            total += sent;
        }
        println!("sent {total} in {:?}, lost 0", self.began.elapsed());
    }
}

impl Flow<'_> {
    /// Returns how many of `sent` datagrams are lost. A pod that does not respond is queried again, because
    /// on a busy machine this does not mean that datagrams are lost.
    fn missing(&self, sent: u64) -> u64 {
        let start = Instant::now();
        let mut first_response = None;
        loop {
            if let Ok(counts) = self.pod.counts() {
                let arrived = counts.of_stream(self.stream);
                if arrived >= sent {
                    return 0;
                }
                let since = first_response.get_or_insert_with(Instant::now);
                if since.elapsed() > LOST_AFTER {
                    return sent - arrived;
                }
            }
            assert!(start.elapsed() < PATIENCE, "{} does not respond", self.pod.name);
            thread::sleep(POLL);
        }
    }
}

/// An endless HTTP response of numbered lines.
pub(crate) struct LineStream {
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<(u64, Duration)>>,
}

impl LineStream {
    pub(crate) fn start(from: &Namespace, server: SocketAddr) -> Self {
        assert_eq!(http_get(from, server, "/healthz").unwrap().status, 200);
        let mut stream = from.run(|| TcpStream::connect(server)).unwrap().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /lines HTTP/1.0\r\n\r\n").unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        Self {
            over,
            reader: Some(thread::spawn(move || read(stream, &stop))),
        }
    }

    /// Returns how many lines arrived, and the longest gap between two. No line was missing, and the response
    /// had not ended.
    pub(crate) fn end(mut self) -> (u64, Duration) {
        self.over.store(true, Ordering::Relaxed);
        let reader = self.reader.take();
        reader.map(|reader| reader.join().unwrap()).unwrap_or_default()
    }
}

impl Drop for LineStream {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn read(stream: TcpStream, over: &AtomicBool) -> (u64, Duration) {
    let mut lines = BufReader::new(stream).lines();
    let head = lines.by_ref().map(Result::unwrap).find(String::is_empty);
    assert!(head.is_some(), "a response starts with its head");
    let (mut next, mut longest, mut last) = (0, Duration::ZERO, Instant::now());
    while !over.load(Ordering::Relaxed) {
        let line = lines.next().expect("the response continues").unwrap();
        assert_eq!(line, next.to_string());
        next += 1;
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    (next, longest)
}
