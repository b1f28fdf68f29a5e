//! Connections that send nothing, as an attacker opens them.

use std::{
    io::{ErrorKind, Read as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{
        JoinHandle, {self},
    },
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use xdp_lab::{Namespace, wait_until};

/// The limit for one connection.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two checks for connections that the server has closed.
const PAUSE: Duration = Duration::from_millis(10);

/// Connections that are opened again whenever the server closes them. Dropping it closes them.
#[derive(Debug)]
pub struct IdleConnections {
    stop: Arc<AtomicBool>,
    opened: Arc<AtomicU64>,
    worker: Option<JoinHandle<()>>,
}

impl IdleConnections {
    /// Opens `count` connections from a namespace. Returns when all were open once.
    pub fn open(from: &Namespace, server: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        let (stop, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (from, stopped, progress) = (from.clone(), Arc::clone(&stop), Arc::clone(&opened));
        // An error shows as connections that are never open.
        let work = move || drop(from.run(|| hold(server, count, &stopped, &progress)));
        let worker = Some(thread::spawn(work));
        let idle = Self { stop, opened, worker };
        let all = || idle.opened() >= count as u64;
        wait_until(
            &format!("{count} connections were open"),
            Duration::from_mins(1),
            all,
        )?;
        Ok(idle)
    }

    /// Returns how many connections were opened so far.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }
}

impl Drop for IdleConnections {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            // A worker that panicked has nothing left to end.
            let _ = worker.join();
        }
    }
}

fn hold(server: SocketAddr, count: usize, stop: &AtomicBool, opened: &AtomicU64) {
    let mut held: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
    while !stop.load(Ordering::Relaxed) {
        for slot in held.iter_mut().take_while(|_| !stop.load(Ordering::Relaxed)) {
            if slot.as_mut().is_some_and(is_open) {
                continue;
            }
            *slot = TcpStream::connect_timeout(&server, PATIENCE).ok();
            if let Some(stream) = slot
                && stream.set_nonblocking(true).is_ok()
            {
                opened.fetch_add(1, Ordering::Relaxed);
            }
        }
        thread::sleep(PAUSE);
    }
}

fn is_open(stream: &mut TcpStream) -> bool {
    let read = stream.read(&mut [0]);
    read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
