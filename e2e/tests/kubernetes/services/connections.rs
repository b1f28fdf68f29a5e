//! Open connections on which the pod sends lines continuously.

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
use xdp_e2e::installed::Installation;

use super::paths::Paths;

/// A connection has stalled after this time without a line; the pod sends one every 20 ms.
const STALLED: Duration = Duration::from_secs(20);
/// Number of further lines that show progress.
const MORE: u64 = 20;

/// One connection, which a thread reads.
pub(super) struct OpenConnection {
    to: SocketAddr,
    stream: TcpStream,
    lines: Arc<AtomicU64>,
    reader: thread::JoinHandle<()>,
}

impl OpenConnection {
    fn open(installed: &Installation, to: SocketAddr) -> Self {
        let connect = || TcpStream::connect_timeout(&to, STALLED);
        let opened = installed.until(format!("{to} answers"), || {
            Ok(installed.client().run(connect)??)
        });
        let mut stream = opened.unwrap();
        stream.set_read_timeout(Some(STALLED)).unwrap();
        // Version 1.0: the response is not chunked.
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

/// Counts lines until the connection ends, stalls, or loses a line.
fn read(stream: TcpStream, counted: &AtomicU64) {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    for (number, line) in lines.skip_while(|line| !line.is_empty()).skip(1).enumerate() {
        if line != number.to_string() {
            return;
        }
        counted.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        // The peer may have closed it.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Opens one connection on each path from outside, and one with IPv6.
pub(super) fn open(installed: &Installation, paths: &Paths<'_>) -> Vec<OpenConnection> {
    let six = SocketAddr::new(paths.pod.v6(), paths.pod.http().port());
    let all = paths.to.into_iter().chain([six]);
    all.map(|to| OpenConnection::open(installed, to)).collect()
}

/// Waits until each connection has received more lines; none may have stalled, ended or lost a line.
#[track_caller]
pub(super) fn expect_progress(installed: &Installation, all: &[OpenConnection]) {
    let expected: Vec<u64> = all.iter().map(|connection| connection.lines() + MORE).collect();
    let progress = installed.until("all connections receive more lines", || {
        for (connection, expected) in all.iter().zip(&expected) {
            ensure!(
                connection.lines() >= *expected,
                "{} has received {} lines",
                connection.to,
                connection.lines()
            );
        }
        Ok(())
    });
    let ended: Vec<SocketAddr> = all
        .iter()
        .filter(|connection| connection.reader.is_finished())
        .map(|connection| connection.to)
        .collect();
    assert_eq!(ended, [], "these connections have ended");
    progress.unwrap();
}
