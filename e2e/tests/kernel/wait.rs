//! Waiting for conditions.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Generous: the machine may be busy, and only failing tests wait that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until there is something to return.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(PAUSE);
    }
}

/// Waits until `look` answers `expected`, and shows the last answer if it never does.
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write the value down on the spot"
)]
pub(crate) fn until_eq<T: PartialEq + std::fmt::Debug>(expected: T, mut look: impl FnMut() -> T) {
    let start = Instant::now();
    loop {
        let found = look();
        if found == expected {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "waited in vain for {expected:?}, last {found:?}"
        );
        thread::sleep(PAUSE);
    }
}
