//! Threads that serve sockets until their owner is dropped.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{
        JoinHandle, {self},
    },
    time::Duration,
};

use nix::sys::{
    socket::{setsockopt, sockopt},
    time::TimeVal,
};

use crate::wait::bound;

/// The longest time that a worker blocks before it checks [`Stop`].
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// Tells workers to return.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

/// Threads that are stopped and joined on drop.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
}

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Workers {
    pub(crate) fn spawn(&mut self, work: impl FnOnce(&Stop) + Send + 'static) {
        let stop = self.stop.clone();
        self.threads.push(thread::spawn(move || work(&stop)));
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.0.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A worker has no result; one that panicked has printed its message.
            let _ = thread.join();
        }
    }
}

/// A listener whose `accept` returns after [`TICK`].
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = bound(|| TcpListener::bind(address))?;
    // accept(2) honours it.
    let tick = TimeVal::new(0, TICK.as_micros() as i64);
    setsockopt(&listener, sockopt::ReceiveTimeout, &tick)?;
    Ok(listener)
}
