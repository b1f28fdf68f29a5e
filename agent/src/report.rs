//! Everything that the agent shows: `status`, `explain`, `flows`, `preflight`, metrics and probes.
//!
//! | to add | change |
//! |---|---|
//! | a metric that the loop counts | `metrics.rs` (the counter), `metrics/encode.rs` (name and help) |
//! | a metric that is read from the kernel | `metrics/kernel.rs` |
//! | a field of `xdp-agent status` | `status.rs` (the field), `status/build.rs` (its value), `status/table.rs` |
//! | a field of the `XdpNodeState` | `crds/src/xdp_node_state.rs`, and `agent/plan/src/node_state.rs`, which computes it |

pub mod explain;
pub mod flows;
pub mod metrics;
pub mod output;
pub mod preflight;
pub mod serve;
pub mod status;
