//! Whether the reconcile loop runs, and whether it has reconciled with known objects.

use std::time::Duration;

use xdp_client::health::{Health, Probes};

/// The loop reconciles at least every 30 seconds. A reconcile that takes longer than this hangs in the
/// kernel.
const LONGEST_SILENCE: Duration = Duration::from_mins(2);

/// The health of the agent.
#[derive(Debug)]
pub struct AgentHealth(Health);

impl Default for AgentHealth {
    fn default() -> Self {
        let waiting_for = "the first reconcile with known policies and pods; the log says what is missing";
        Self(Health::new(LONGEST_SILENCE, waiting_for))
    }
}

impl AgentHealth {
    /// Records a finished reconcile. `objects_known`: it knew the policies and the pods, so that what is
    /// programmed is what they want.
    pub fn reconciled(&self, objects_known: bool) {
        self.0.beat();
        if objects_known {
            self.0.set_ready();
        }
    }
}

impl Probes for AgentHealth {
    fn live(&self) -> Result<(), String> {
        self.0.live()
    }

    fn ready(&self) -> Result<(), String> {
        self.0.ready()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_ready_after_a_reconcile_with_known_objects_and_stays_so() {
        let health = AgentHealth::default();
        health.reconciled(false);
        assert!(health.ready().is_err());
        health.reconciled(true);
        health.reconciled(false);
        assert_eq!(health.ready(), Ok(()));
    }
}
