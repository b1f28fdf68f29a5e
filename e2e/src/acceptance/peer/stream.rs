//! Numbered datagrams in the background.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use xdp_lab::{Namespace, UdpSender};

/// A sender on a thread of its own.
pub(super) struct Stream {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<(u32, u64)>>,
}

impl Stream {
    pub(super) fn start(namespace: &Namespace, to: SocketAddr, per_second: u32) -> anyhow::Result<Self> {
        let mut sender = UdpSender::new(namespace, to)?;
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let pause = Duration::from_secs(1) / per_second.max(1);
        let thread = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                // An interface that is down refuses: then nothing was sent.
                let _ = sender.send_one();
                thread::sleep(pause);
            }
            (sender.stream(), sender.sent())
        });
        Ok(Self {
            over,
            thread: Some(thread),
        })
    }

    /// Returns the stream's number, and how many datagrams were sent.
    pub(super) fn end(mut self) -> (u32, u64) {
        self.join().unwrap_or_default()
    }

    fn join(&mut self) -> Option<(u32, u64)> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take()?.join().ok()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.join();
    }
}
