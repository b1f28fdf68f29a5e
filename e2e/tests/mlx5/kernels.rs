//! Which kernels are tested.

use std::env;

use xdp_connectx::machine::{Architecture, FilesError, Kernel, KernelSeries, MachineFiles};

/// When a kernel is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// In each run.
    Always,
    /// With `KERNELS=all`, or when it is named.
    WithAll,
}

/// The value of `KERNELS` for the newest kernel for arm64: its agent is built by `make test-arm64`.
const ARM64: &str = "arm64";

/// Runs a test on a kernel, unless `KERNELS` names others. A kernel that the archive no longer has is skipped
/// by name.
pub(crate) fn on_kernel(series: KernelSeries, choice: Choice, test: impl FnOnce(&MachineFiles, &Kernel)) {
    if !is_chosen(series, choice, &env::var("KERNELS").unwrap_or_default()) {
        println!("SKIPPED kernel {series}: run `make test-mlx5 KERNELS={series}`");
        return;
    }
    boot(series, Architecture::Amd64, test);
}

/// Runs a test on the newest kernel for arm64, only if `KERNELS` is `arm64`.
pub(crate) fn on_arm64(test: impl FnOnce(&MachineFiles, &Kernel)) {
    if env::var("KERNELS").is_ok_and(|kernels| kernels == ARM64) {
        boot(KernelSeries::Newest, Architecture::Arm64, test);
    } else {
        println!("SKIPPED arm64: run `make test-arm64`");
    }
}

fn boot(series: KernelSeries, architecture: Architecture, test: impl FnOnce(&MachineFiles, &Kernel)) {
    let files = MachineFiles::of_project();
    match files.kernel(series, architecture) {
        Ok(kernel) => test(&files, &kernel),
        Err(error @ FilesError::Missing { .. }) => panic!("{error}"),
        Err(absent) => println!("SKIPPED {absent}"),
    }
}

fn is_chosen(series: KernelSeries, choice: Choice, kernels: &str) -> bool {
    match kernels {
        "" => choice == Choice::Always,
        "all" => true,
        list => list.split(',').any(|name| name == series.to_string()),
    }
}

#[test]
fn the_environment_chooses_kernels() {
    let chosen = |choice, kernels| is_chosen(KernelSeries::Exact(6, 12), choice, kernels);
    assert!(chosen(Choice::Always, "") && !chosen(Choice::WithAll, ""));
    assert!(chosen(Choice::WithAll, "all") && chosen(Choice::WithAll, "6.1,6.12"));
    assert!(!chosen(Choice::Always, "6.1"));
}
