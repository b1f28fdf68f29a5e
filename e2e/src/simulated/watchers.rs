//! The lists and watches of many agents, from one process that only counts what arrives.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{
        JoinHandle, {self},
    },
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    resource::{Resource, getrlimit, setrlimit},
};
use serde_json::Value;
use xdp_kubernetes::PATIENCE;
use xdp_lab::{HttpRequest, HttpSession, wait_until};

use super::{AgentRequest, CONNECTIONS, SERVER, SimulatedCluster, TIMEOUT};

/// How long the thread waits for bytes before it looks whether it is to stop, in milliseconds.
const TURN: u16 = 100;
const HEADERS_END: &[u8] = b"\r\n\r\n";
/// Longer than any measurement.
const WATCH_SECONDS: u32 = 3600;

/// The watches of agents. They end on drop.
#[derive(Debug)]
pub struct Watchers {
    /// Bytes of the first lists, by node.
    pub listed: BTreeMap<usize, u64>,
    received: Arc<BTreeMap<usize, AtomicU64>>,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Watchers {
    /// Lists everything, then watches it.
    pub fn open(simulated: &SimulatedCluster, requests: &[AgentRequest]) -> Result<Self> {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        let (listed, watches) = simulated.cluster().control().run(|| list(requests))??;
        let nodes = requests.iter().map(|request| (request.node, AtomicU64::new(0)));
        let received: Arc<BTreeMap<_, _>> = Arc::new(nodes.collect());
        let (stop, open) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let count = watches.len();
        let (from, stopped, counts, progress) = (
            simulated.cluster().control().clone(),
            Arc::clone(&stop),
            Arc::clone(&received),
            Arc::clone(&open),
        );
        // An error shows as watches that are never open.
        let work = move || drop(from.run(|| hold(&watches, &stopped, &counts, &progress)));
        let opened = Self {
            listed,
            received,
            stop,
            worker: Some(thread::spawn(work)),
        };
        let all = || open.load(Ordering::Relaxed) == count;
        wait_until(&format!("{count} watches are open"), PATIENCE, all)?;
        Ok(opened)
    }

    /// Returns the bytes that each node's watches have received so far.
    pub fn received(&self) -> BTreeMap<usize, u64> {
        let counts = self.received.iter();
        counts
            .map(|(node, bytes)| (*node, bytes.load(Ordering::Relaxed)))
            .collect()
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            // A worker that panicked has nothing left to end.
            let _ = worker.join();
        }
    }
}

/// Returns the bytes of the lists by node, and the watches that continue them.
fn list(requests: &[AgentRequest]) -> Result<(BTreeMap<usize, u64>, Vec<AgentRequest>)> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new((BTreeMap::new(), Vec::new())));
    let work = || -> Result<()> {
        let session = HttpSession::new(SERVER, TIMEOUT);
        while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let reply = session.send(&HttpRequest::get(&format!("{}&resourceVersion=0", request.path)))?;
            ensure!(
                reply.status == 200,
                "{}: {} {}",
                request.path,
                reply.status,
                reply.body
            );
            let list: Value = serde_json::from_str(&reply.body)?;
            let version = list["metadata"]["resourceVersion"]
                .as_str()
                .context("a list without version")?;
            let path = format!(
                "{}&watch=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}",
                request.path
            );
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            *done.0.entry(request.node).or_default() += reply.body.len() as u64;
            done.1.push(AgentRequest {
                node: request.node,
                path,
            });
        }
        Ok(())
    };
    thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().ok().context("a worker panicked")??;
        }
        Ok(())
    })?;
    Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// A watch's connection. Only what follows the headers counts.
struct Connection {
    node: usize,
    stream: TcpStream,
    headers: Vec<u8>,
    is_open: bool,
}

fn hold(
    watches: &[AgentRequest],
    stop: &AtomicBool,
    received: &BTreeMap<usize, AtomicU64>,
    open: &AtomicUsize,
) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    let mut connections = Vec::new();
    for (number, watch) in watches.iter().enumerate() {
        let mut stream = TcpStream::connect(SERVER)?;
        write!(stream, "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", watch.path)?;
        stream.set_nonblocking(true)?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        connections.push(Connection {
            node: watch.node,
            stream,
            headers: Vec::new(),
            is_open: false,
        });
        if number % CONNECTIONS == 0 {
            serve(&epoll, &mut connections, received, open, 0)?;
        }
    }
    while !stop.load(Ordering::Relaxed) {
        serve(&epoll, &mut connections, received, open, TURN)?;
    }
    Ok(())
}

/// Reads what has arrived.
fn serve(
    epoll: &Epoll,
    connections: &mut [Connection],
    received: &BTreeMap<usize, AtomicU64>,
    open: &AtomicUsize,
    wait: u16,
) -> Result<()> {
    let mut events = [EpollEvent::empty(); 256];
    let ready = epoll.wait(&mut events, EpollTimeout::from(wait))?;
    for event in &events[..ready] {
        let connection = &mut connections[event.data() as usize];
        let (bytes, ended) = connection.read();
        if ended {
            epoll.delete(&connection.stream)?;
        }
        if let Some(bytes) = bytes {
            if !std::mem::replace(&mut connection.is_open, true) {
                open.fetch_add(1, Ordering::Relaxed);
            }
            received[&connection.node].fetch_add(bytes, Ordering::Relaxed);
        }
    }
    Ok(())
}

impl Connection {
    /// Returns how many bytes of the answer's body have arrived, once its headers have, and whether the
    /// server has ended it.
    fn read(&mut self) -> (Option<u64>, bool) {
        let (mut buffer, mut bytes) = ([0; 1 << 14], 0);
        let ended = loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(read) if self.is_open => bytes += read as u64,
                Ok(read) => self.headers.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        if !self.is_open {
            let end = self
                .headers
                .windows(HEADERS_END.len())
                .position(|window| window == HEADERS_END);
            if !self.headers.starts_with(b"HTTP/1.1 200") {
                return (None, ended);
            }
            let Some(end) = end else { return (None, ended) };
            bytes += (self.headers.len() - end - HEADERS_END.len()) as u64;
        }
        (Some(bytes), ended)
    }
}
