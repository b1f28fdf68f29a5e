//! What users are promised, shown by the agent's real process on a lab.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bad_input;
mod nics;
mod readiness;
mod traffic;
mod world;
