//! What the agent shows: the status, answers of `explain`, flows, metrics and probes.

pub mod explain;
pub mod flows;
pub mod metrics;
pub mod serve;
pub mod status;
