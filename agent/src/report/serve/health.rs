//! Whether the loop lives, and whether it has done its first round.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::report::serve::Probes;

/// The loop makes a round every 30 seconds at the latest; one that takes longer than this hangs in the kernel.
const LONGEST_SILENCE: Duration = Duration::from_mins(2);

/// What the loop tells the probes.
#[derive(Debug)]
pub struct Health(Mutex<State>);

#[derive(Debug)]
struct State {
    /// End of the last round; at first the start of the process.
    last_round: Instant,
    ready: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self::at(Instant::now())
    }
}

impl Health {
    /// To be called after every round. `objects_known`: the round knew the policies and pods, so that what is in
    /// force is what is wanted. Once ready stays ready: what comes later is in the status.
    pub fn round_finished(&self, objects_known: bool) {
        self.round_finished_at(Instant::now(), objects_known);
    }

    fn at(now: Instant) -> Self {
        Self(Mutex::new(State {
            last_round: now,
            ready: false,
        }))
    }

    fn round_finished_at(&self, now: Instant, objects_known: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.last_round = now;
        state.ready |= objects_known;
    }

    fn live_at(&self, now: Instant) -> Result<(), String> {
        let last_round = self.0.lock().unwrap_or_else(PoisonError::into_inner).last_round;
        let silence = now.saturating_duration_since(last_round);
        if silence <= LONGEST_SILENCE {
            return Ok(());
        }
        Err(format!(
            "the loop has not finished a round for {} seconds, it hangs",
            silence.as_secs()
        ))
    }
}

impl Probes for Health {
    fn live(&self) -> Result<(), String> {
        self.live_at(Instant::now())
    }

    fn ready(&self) -> Result<(), String> {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).ready {
            return Ok(());
        }
        Err("no round with known policies and pods is done yet; the log says what is waited for".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_loop_without_a_round_for_two_minutes_is_dead_and_lives_again_after_the_next() {
        let start = Instant::now();
        let health = Health::at(start);
        assert_eq!(health.live_at(start + LONGEST_SILENCE), Ok(()));
        let late = start + LONGEST_SILENCE + SECOND;
        let reason = health.live_at(late).unwrap_err();
        assert!(reason.contains("121 seconds"), "{reason}");
        health.round_finished_at(late, false);
        assert_eq!(health.live_at(late + LONGEST_SILENCE), Ok(()));
    }

    #[test]
    fn ready_is_who_has_done_a_round_with_known_objects_and_stays_so() {
        let now = Instant::now();
        let health = Health::at(now);
        health.round_finished_at(now, false);
        assert!(health.ready().is_err());
        health.round_finished_at(now, true);
        health.round_finished_at(now, false);
        assert_eq!(health.ready(), Ok(()));
    }
}
