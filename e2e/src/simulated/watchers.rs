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

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        resource::{Resource, getrlimit, setrlimit},
    },
};
use serde_json::Value;
use xdp_lab::{HttpRequest, HttpSession};

use super::{AgentRequest, CONNECTIONS, SERVER, SimulatedCluster, TIMEOUT};

/// How long the thread waits for bytes before it looks whether it is to stop, in milliseconds.
const TURN: u16 = 100;
/// How long the API server may take to open the next watch, in milliseconds.
const OPENING: u16 = 60_000;
const HEADERS_END: &[u8] = b"\r\n\r\n";
/// Longer than any measurement.
const WATCH_SECONDS: u32 = 3600;

/// Watches that the API server has not answered yet: more at the same time take it longer, and time out.
const PENDING: usize = 64;

/// The watches of agents. They end on drop.
#[derive(Debug)]
pub struct Watchers {
    /// Bytes of the first lists, by node.
    pub listed: BTreeMap<usize, u64>,
    received: Arc<BTreeMap<usize, AtomicU64>>,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<Result<()>>>,
}

impl Watchers {
    /// Lists everything, then watches it.
    pub fn open(simulated: &SimulatedCluster, requests: &[AgentRequest]) -> Result<Self> {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        let from = simulated.cluster().control();
        let (listed, watches) = from.run(|| list(requests))??;
        let mut connections = from.run(|| Connections::open(&watches))??;
        let nodes = requests.iter().map(|request| (request.node, AtomicU64::new(0)));
        let received: Arc<BTreeMap<_, _>> = Arc::new(nodes.collect());
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, counts) = (Arc::clone(&stop), Arc::clone(&received));
        let work = move || {
            while !stopped.load(Ordering::Relaxed) {
                connections.read(&counts)?;
            }
            Ok(())
        };
        Ok(Self {
            listed,
            received,
            stop,
            worker: Some(thread::spawn(work)),
        })
    }

    /// Returns the bytes that each node's watches have received so far.
    pub fn received(&mut self) -> Result<BTreeMap<usize, u64>> {
        if let Some(ended) = self.worker.take_if(|worker| worker.is_finished()) {
            ended.join().ok().context("the watches panicked")??;
        }
        ensure!(self.worker.is_some(), "the watches have ended");
        let counts = self.received.iter();
        Ok(counts
            .map(|(node, bytes)| (*node, bytes.load(Ordering::Relaxed)))
            .collect())
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

/// All watches, each with its connection.
struct Connections {
    epoll: Epoll,
    all: Vec<Connection>,
    open: usize,
}

/// A watch's connection. Only what follows the headers counts.
struct Connection {
    node: usize,
    path: String,
    stream: TcpStream,
    headers: Vec<u8>,
    is_open: bool,
}

impl Connections {
    /// Opens all watches.
    fn open(watches: &[AgentRequest]) -> Result<Self> {
        let mut connections = Self {
            epoll: Epoll::new(EpollCreateFlags::empty())?,
            all: Vec::with_capacity(watches.len()),
            open: 0,
        };
        let uncounted = BTreeMap::new();
        for watch in watches {
            connections.add(watch)?;
            while connections.open + PENDING < connections.all.len() {
                connections.read(&uncounted)?;
            }
        }
        while connections.open < connections.all.len() {
            connections.read(&uncounted)?;
        }
        Ok(connections)
    }

    fn add(&mut self, watch: &AgentRequest) -> Result<()> {
        let mut stream = TcpStream::connect(SERVER)?;
        write!(stream, "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", watch.path)?;
        stream.set_nonblocking(true)?;
        let number = self.all.len() as u64;
        self.epoll
            .add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
        self.all.push(Connection {
            node: watch.node,
            path: watch.path.clone(),
            stream,
            headers: Vec::new(),
            is_open: false,
        });
        Ok(())
    }

    /// Waits for bytes, and reads what has arrived. Fails if the API server ends a watch, or opens none.
    fn read(&mut self, received: &BTreeMap<usize, AtomicU64>) -> Result<()> {
        let mut events = [EpollEvent::empty(); 256];
        let is_opening = self.open < self.all.len();
        let wait = if is_opening { OPENING } else { TURN };
        let ready = loop {
            match self.epoll.wait(&mut events, EpollTimeout::from(wait)) {
                Err(Errno::EINTR) => {}
                ready => break ready?,
            }
        };
        ensure!(ready > 0 || !is_opening, "no watch is opened any more");
        for event in &events[..ready] {
            let connection = &mut self.all[event.data() as usize];
            let was_open = connection.is_open;
            let bytes = connection.read()?;
            self.open += usize::from(connection.is_open && !was_open);
            if let Some(count) = received.get(&connection.node) {
                count.fetch_add(bytes, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Reads what has arrived, and returns how many bytes of it are of the answer's body.
    fn read(&mut self) -> Result<u64> {
        let (mut buffer, mut bytes) = ([0; 1 << 14], 0);
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!(
                    "{} has ended: {}",
                    self.path,
                    String::from_utf8_lossy(&self.headers)
                ),
                Ok(read) if self.is_open => bytes += read as u64,
                Ok(read) => {
                    self.headers.extend_from_slice(&buffer[..read]);
                    bytes += self.body()?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(bytes),
                Err(error) => return Err(error).with_context(|| self.path.clone()),
            }
        }
    }

    /// Looks for the end of the headers. Returns the number of bytes after it.
    fn body(&mut self) -> Result<u64> {
        let end = self
            .headers
            .windows(HEADERS_END.len())
            .position(|window| window == HEADERS_END);
        let Some(end) = end else { return Ok(0) };
        ensure!(
            self.headers.starts_with(b"HTTP/1.1 200"),
            "{}: {}",
            self.path,
            String::from_utf8_lossy(&self.headers)
        );
        self.is_open = true;
        Ok((self.headers.len() - end - HEADERS_END.len()) as u64)
    }
}
