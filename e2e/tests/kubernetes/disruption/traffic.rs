//! Traffic that goes on while something happens, at the pace of its receivers.
//!
//! Never more is under way than the rings on the way (256 in a veth) and the pods' sockets hold: what does not arrive was
//! lost by what the test does, not by a busy machine.

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

use xdp_e2e::installed::{Pod, http_get};
use xdp_lab::{Namespace, UdpSender, wait_until};

/// Between two datagrams of a flow.
const PACE: Duration = Duration::from_millis(1);
/// Sent before the sender asks what has arrived.
const BATCH: u64 = 50;
/// What has not arrived after this time never will.
const LOST_AFTER: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(3);
/// For a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_mins(2);

/// Datagrams to all addresses of some pods, each address a flow.
pub(crate) struct Traffic<'a> {
    flows: Vec<Flow<'a>>,
    began: Instant,
    over: AtomicBool,
}

struct Flow<'a> {
    pod: &'a Pod<'a>,
    to: SocketAddr,
    stream: u32,
    /// Sent, and arrived or given up.
    settled: AtomicU64,
    /// Batches that did not arrive whole: when they were sent, how many were missing.
    gaps: Mutex<Vec<(Duration, u64)>>,
}

/// Sends to all pods all the time, while `during` runs; everything has arrived afterwards, once.
pub(crate) fn under_traffic<'a, T>(
    from: &Namespace,
    pods: &'a [Pod<'a>],
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
        traffic.more(BATCH);
        during(&traffic)
    });
    traffic.expect_all_arrived();
    (result, traffic)
}

fn flow<'a>(from: &Namespace, pod: &'a Pod<'a>, to: SocketAddr) -> (Flow<'a>, UdpSender) {
    let sender = UdpSender::new(from, to).unwrap();
    let flow = Flow {
        pod,
        to,
        stream: sender.stream(),
        settled: AtomicU64::new(0),
        gaps: Mutex::default(),
    };
    (flow, sender)
}

/// Ends the senders, also when the test panics.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Traffic<'_> {
    /// Waits until every flow has sent so many more, and they have arrived or are lost.
    pub(crate) fn more(&self, packets: u64) {
        let settled = |flow: &Flow<'_>| flow.settled.load(Ordering::Relaxed);
        let goals: Vec<u64> = self.flows.iter().map(|flow| settled(flow) + packets).collect();
        wait_until("the traffic goes on", PATIENCE, || {
            self.flows
                .iter()
                .zip(&goals)
                .all(|(flow, goal)| settled(flow) >= *goal)
        })
        .unwrap();
    }

    /// How many were sent to a pod.
    pub(crate) fn sent_to(&self, pod: &Pod<'_>) -> u64 {
        let flows = self.flows.iter().filter(|flow| flow.pod.name == pod.name);
        flows.map(|flow| flow.settled.load(Ordering::Relaxed)).sum()
    }

    fn send(&self, flow: &Flow<'_>, mut sender: UdpSender) {
        let mut lost = 0;
        while !self.over.load(Ordering::Relaxed) {
            let at = self.began.elapsed();
            for _ in 0..BATCH {
                sender.send_one().unwrap();
                thread::sleep(PACE);
            }
            let missing = flow.missing(sender.sent() - lost);
            if missing > 0 {
                lost += missing;
                let mut gaps = flow.gaps.lock().unwrap_or_else(PoisonError::into_inner);
                gaps.push((at, missing));
            }
            flow.settled.store(sender.sent(), Ordering::Relaxed);
        }
    }

    fn expect_all_arrived(&self) {
        let mut total = 0;
        for flow in &self.flows {
            let counts = flow.pod.counts().unwrap();
            let sent = flow.settled.load(Ordering::Relaxed);
            let (distinct, duplicates) = counts.streams.get(&flow.stream).copied().unwrap_or_default();
            let gaps = flow.gaps.lock().unwrap_or_else(PoisonError::into_inner);
            assert_eq!(
                (sent - distinct, duplicates, counts.overflowed),
                (0, 0, 0),
                "(lost, duplicates, overflowed) of {sent} sent to {}, {}; batches that lacked some: {gaps:?}; {counts:?}",
                flow.pod.name,
                flow.to
            );
            total += sent;
        }
        println!("sent {total} in {:?}, lost 0", self.began.elapsed());
    }
}

impl Flow<'_> {
    /// How many of so many have not arrived when they should have. A pod that does not answer on a busy machine says nothing
    /// about that, and is asked again.
    fn missing(&self, sent: u64) -> u64 {
        let start = Instant::now();
        let mut first_answer = None;
        loop {
            if let Ok(counts) = self.pod.counts() {
                let arrived = counts.of_stream(self.stream);
                if arrived >= sent {
                    return 0;
                }
                let since = first_answer.get_or_insert_with(Instant::now);
                if since.elapsed() > LOST_AFTER {
                    return sent - arrived;
                }
            }
            assert!(start.elapsed() < PATIENCE, "{} does not answer", self.pod.name);
            thread::sleep(POLL);
        }
    }
}

/// An HTTP answer that goes on: one line after the other, each with its number.
pub(crate) struct Exchange {
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<(u64, Duration)>>,
}

impl Exchange {
    pub(crate) fn begin(from: &Namespace, server: SocketAddr) -> Self {
        // It answers at all.
        assert_eq!(http_get(from, server, "/healthz").unwrap().status, 200);
        let mut stream = from.run(|| TcpStream::connect(server)).unwrap().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /lines HTTP/1.0\r\n\r\n").unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        Self {
            over,
            reader: Some(thread::spawn(move || read(stream, &told))),
        }
    }

    /// How many lines came, and the longest time that none did. All were the next one, and the answer had not ended.
    pub(crate) fn end(mut self) -> (u64, Duration) {
        self.over.store(true, Ordering::Relaxed);
        let reader = self.reader.take();
        reader.map(|reader| reader.join().unwrap()).unwrap_or_default()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn read(stream: TcpStream, over: &AtomicBool) -> (u64, Duration) {
    let mut lines = BufReader::new(stream).lines();
    let head = lines.by_ref().map(Result::unwrap).find(String::is_empty);
    assert!(head.is_some(), "an answer begins with its head");
    let (mut next, mut longest, mut last) = (0, Duration::ZERO, Instant::now());
    while !over.load(Ordering::Relaxed) {
        let line = lines.next().expect("the answer goes on").unwrap();
        assert_eq!(line, next.to_string());
        next += 1;
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    (next, longest)
}
