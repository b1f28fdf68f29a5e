//! Kernel behaviour that the agent depends on: one test for each, on the running kernel, with real packets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod adjust;
mod adjusted;
mod btf;
mod devmap;
mod failures;
mod features;
mod fixture;
mod links;
mod metadata;
mod namespace;
mod programs;
mod tcx;
mod verdicts;
mod wait;
mod wire;

use xdp_e2e_ebpf as shared;
