//! Benchmarks: the cost of a packet and of a change, compared with the alternatives.
//!
//! Results are ratios within one interleaved run on one machine: contestants take turns, differences below
//! twice the A/A spread are not reported, and packets are counted at the receiver.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a command-line tool")]
#![expect(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds are far below 2^52"
)]

pub mod benchmarks;
pub mod command;
pub mod environment;
pub mod instruments;
pub mod nic;
pub mod process;
pub mod report;
pub mod stats;
pub mod suite;
pub mod sys;
pub mod tables;
pub mod testbed;
pub mod verifier;
pub mod workload;

pub use xdp_bench_ebpf as shared;
