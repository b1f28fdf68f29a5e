//! Waiting for conditions.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Long, because the machine may be busy; only failing tests wait that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until `look` returns a value.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "timed out waiting until {what}");
        thread::sleep(PAUSE);
    }
}

/// Waits until `look` returns `expected`, and shows the last value if it never does.
#[expect(clippy::needless_pass_by_value, reason = "callers pass literals")]
pub(crate) fn until_eq<T: PartialEq + std::fmt::Debug>(expected: T, mut look: impl FnMut() -> T) {
    let start = Instant::now();
    loop {
        let found = look();
        if found == expected {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "timed out waiting for {expected:?}, last {found:?}"
        );
        thread::sleep(PAUSE);
    }
}
