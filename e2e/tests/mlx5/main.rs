//! The acceptance on the mlx5 driver and other native drivers, on Debian's kernels in virtual machines.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail the test; the reports are for people"
)]

mod card;
mod guest;
mod kernels;
mod verdict;

use xdp_connectx::machine::KernelSeries;

use crate::kernels::{Choice, on_kernel};

#[test]
fn mlx5_is_accepted_on_the_oldest_kernel() {
    on_kernel(KernelSeries::Exact(6, 1), Choice::Always, verdict::mlx5);
}

#[test]
fn mlx5_is_accepted_on_6_12() {
    on_kernel(KernelSeries::Exact(6, 12), Choice::WithAll, verdict::mlx5);
}

#[test]
fn mlx5_is_accepted_on_a_longterm_kernel() {
    on_kernel(KernelSeries::Longterm, Choice::Always, verdict::mlx5);
}

#[test]
fn mlx5_is_accepted_on_the_newest_kernel() {
    on_kernel(KernelSeries::Newest, Choice::Always, verdict::mlx5);
}
