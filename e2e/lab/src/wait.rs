//! Waiting on conditions.

use std::thread;
use std::time::{Duration, Instant};

use crate::LabError;

/// Short beside everything the kernel does asynchronously (removing a namespace takes some 30 ms).
const INTERVAL: Duration = Duration::from_millis(3);

/// Wait until `condition` holds; it is looked at once more when time is up.
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
