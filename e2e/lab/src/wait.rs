//! Waiting for conditions.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use crate::LabError;

/// Short compared with what the kernel does asynchronously (removing a namespace takes some 30 ms).
const INTERVAL: Duration = Duration::from_millis(3);

/// Waits until `condition` holds. Checks it once more after the timeout.
pub fn wait_until(
    what: &str,
    timeout: Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<(), LabError> {
    let start = Instant::now();
    loop {
        let late = start.elapsed() >= timeout;
        if condition() {
            return Ok(());
        }
        if late {
            return Err(LabError::Timeout {
                what: what.to_owned(),
                waited: start.elapsed(),
            });
        }
        thread::sleep(INTERVAL);
    }
}

/// The limit until a starting process executes its program, on a busy machine.
const IN_USE: Duration = Duration::from_secs(20);

/// Binds, and retries while the address is in use: a starting process holds copies of all sockets until it
/// executes its program, so an address may not be free right after its socket was closed.
pub(crate) fn bound<T>(mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let start = Instant::now();
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && start.elapsed() < IN_USE => {
                thread::sleep(INTERVAL);
            }
            result => return result,
        }
    }
}
