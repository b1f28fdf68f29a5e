//! Connections that are held open, on which the pod says something all the time.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::ensure;
use xdp_e2e::installed::Installed;

use super::ways::Ways;

/// The pod says something every 20 ms; who is silent for so long has stalled.
const STALLED: Duration = Duration::from_secs(20);
/// So many lines more show that it goes on.
const MORE: u64 = 20;

/// One connection, read all the time.
pub(super) struct Held {
    to: SocketAddr,
    stream: TcpStream,
    lines: Arc<AtomicU64>,
    reader: thread::JoinHandle<()>,
}

impl Held {
    fn open(installed: &Installed, to: SocketAddr) -> Self {
        let connect = || TcpStream::connect_timeout(&to, STALLED);
        let opened = installed.until(format!("{to} answers"), || {
            Ok(installed.client().run(connect)??)
        });
        let mut stream = opened.unwrap();
        stream.set_read_timeout(Some(STALLED)).unwrap();
        // Version 1.0: lines as they are, not in chunks.
        write!(stream, "GET /lines HTTP/1.0\r\n\r\n").unwrap();
        let (reading, lines) = (stream.try_clone().unwrap(), Arc::default());
        let counted = Arc::clone(&lines);
        let reader = thread::spawn(move || read(reading, &counted));
        Self {
            to,
            stream,
            lines,
            reader,
        }
    }

    fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }
}

/// Until the connection ends, stalls, or loses a line.
fn read(stream: TcpStream, counted: &AtomicU64) {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    for (number, line) in lines.skip_while(|line| !line.is_empty()).skip(1).enumerate() {
        if line != number.to_string() {
            return;
        }
        counted.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// One by each way from outside, and one by IPv6.
pub(super) fn open(installed: &Installed, ways: &Ways<'_>) -> Vec<Held> {
    let six = SocketAddr::new(ways.pod.v6(), ways.pod.http().port());
    let all = ways.to.into_iter().chain([six]);
    all.map(|to| Held::open(installed, to)).collect()
}

/// Waits until each has said more; none has stalled, ended or lost anything.
#[track_caller]
pub(super) fn go_on(installed: &Installed, all: &[Held]) {
    let wanted: Vec<u64> = all.iter().map(|held| held.lines() + MORE).collect();
    let went_on = installed.until("all connections say more", || {
        for (held, wanted) in all.iter().zip(&wanted) {
            ensure!(
                held.lines() >= *wanted,
                "{} has said {} lines",
                held.to,
                held.lines()
            );
        }
        Ok(())
    });
    let ended: Vec<SocketAddr> = all
        .iter()
        .filter(|held| held.reader.is_finished())
        .map(|held| held.to)
        .collect();
    assert_eq!(ended, [], "these have ended");
    went_on.unwrap();
}
