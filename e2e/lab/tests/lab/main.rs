//! The lab on the running kernel. These tests need root.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod adopt;
mod changes;
mod echo;
mod fixture;
mod refusals;
mod remains;
mod traces;
mod traffic;
