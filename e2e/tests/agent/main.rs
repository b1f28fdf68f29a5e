//! Tests of the agent's process on a lab: what users are promised.
#![expect(clippy::print_stdout, reason = "helpers print what they measured")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bad_input;
mod chance;
mod churn;
mod claims;
mod doors;
mod explain;
mod failures;
mod fixture;
mod flood;
mod flow;
mod frames;
mod language;
mod limits;
mod metrics;
mod moving;
mod network_policy;
mod nics;
mod peer;
mod pins;
mod readiness;
mod reject;
mod reply_path;
mod restart;
mod reuse;
mod rights;
mod seccomp;
mod stations;
mod tenants;
mod traffic;
mod unparsed;
mod upgrade;
