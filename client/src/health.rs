//! Liveness and readiness of a process.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The answers to probes. An error is the body of the answer.
pub trait Probes: Send + Sync + 'static {
    /// Whether the process works. If it does not, the kubelet restarts it.
    fn live(&self) -> Result<(), String>;
    /// Whether the process has finished its start.
    fn ready(&self) -> Result<(), String>;
}

/// The health of a reconcile loop: live while the loop runs, ready once it knows all objects.
#[derive(Debug)]
pub struct Health {
    longest_silence: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the loop last ran.
    beat: Instant,
    /// Why the process is not ready.
    waiting_for: Option<String>,
}

impl Health {
    /// Creates the health of a loop that runs at least once in `longest_silence`. It is not ready yet, for a
    /// reason.
    pub fn new(longest_silence: Duration, waiting_for: impl Into<String>) -> Self {
        Self {
            longest_silence,
            state: Mutex::new(State {
                beat: Instant::now(),
                waiting_for: Some(waiting_for.into()),
            }),
        }
    }

    /// Records that the loop runs.
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    /// Records why the process is not ready. A process that is ready stays ready.
    pub fn set_waiting_for(&self, reason: impl Into<String>) {
        if let Some(waiting_for) = &mut self.state().waiting_for {
            *waiting_for = reason.into();
        }
    }

    /// Records that the process is ready.
    pub fn set_ready(&self) {
        self.state().waiting_for = None;
    }

    fn beat_at(&self, now: Instant) {
        self.state().beat = now;
    }

    fn live_at(&self, now: Instant) -> Result<(), String> {
        let silence = now.saturating_duration_since(self.state().beat);
        if silence <= self.longest_silence {
            return Ok(());
        }
        Err(format!(
            "the reconcile loop has not run for {} s",
            silence.as_secs()
        ))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probes for Health {
    fn live(&self) -> Result<(), String> {
        self.live_at(Instant::now())
    }

    fn ready(&self) -> Result<(), String> {
        self.state()
            .waiting_for
            .as_ref()
            .map_or(Ok(()), |reason| Err(format!("waiting for {reason}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_loop_that_does_not_run_in_time_is_not_live_until_it_runs_again() {
        let health = Health::new(120 * SECOND, "lists");
        let start = Instant::now();
        health.beat_at(start);
        assert_eq!(health.live_at(start + 120 * SECOND), Ok(()));
        let late = start + 121 * SECOND;
        let reason = health.live_at(late).unwrap_err();
        assert!(reason.contains("121 s"), "{reason}");
        health.beat_at(late);
        assert_eq!(health.live_at(late + 120 * SECOND), Ok(()));
    }

    #[test]
    fn a_process_that_is_ready_stays_ready() {
        let health = Health::new(SECOND, "lists");
        assert_eq!(health.ready(), Err("waiting for lists".to_owned()));
        health.set_waiting_for("pods");
        assert_eq!(health.ready(), Err("waiting for pods".to_owned()));
        health.set_ready();
        health.set_waiting_for("pods");
        assert_eq!(health.ready(), Ok(()));
    }
}
