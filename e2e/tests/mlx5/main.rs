//! The acceptance on the mlx5 driver and other native drivers, on Debian's kernels in virtual machines.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail the test; the reports are for people"
)]

mod device;
mod guest;
mod kernels;
mod run;

use std::env;

use xdp_connectx::{
    Profile,
    machine::{Kernel, KernelSeries, MachineFiles},
};

use crate::{
    device::Device,
    kernels::{Choice, on_arm64, on_kernel},
    run::{Subject, accept},
};

/// What differs between drivers and between kernels; the rest is the agent's own, and tried in full on mlx5
/// with the oldest and the newest kernel. `KERNELS` tries everything.
const SHORT: &[&str] = &[
    "attached natively",
    "a host route, with their mark",
    "are dropped",
    "rejected packets",
    "delivery Peer",
    "large transfers",
    "largest MTU",
    "over a kill",
    "a change of the",
    "was unbound",
    "fatal firmware",
    "the verifier processes at most",
    "uninstall",
];

fn tries_all() -> bool {
    env::var("KERNELS").is_ok_and(|kernels| !kernels.is_empty())
}

fn short() -> &'static [&'static str] {
    if tries_all() { &[] } else { SHORT }
}

fn mlx5(files: &MachineFiles, kernel: &Kernel) {
    mlx5_with(files, kernel, &[]);
}

fn mlx5_in_short(files: &MachineFiles, kernel: &Kernel) {
    mlx5_with(files, kernel, short());
}

fn mlx5_with(files: &MachineFiles, kernel: &Kernel, only: &'static [&'static str]) {
    let card = |name, profile, only| Subject {
        name,
        device: Device::Card(profile),
        only,
    };
    let dx = Profile::CONNECTX_6_DX;
    accept(
        files,
        kernel,
        "mlx5",
        &[
            card("ConnectX-6 Dx", dx.clone().with_hardware_gro(true), only),
            card(
                "old firmware",
                dx.clone().without_ext_stride_num_range(),
                &["firmware that cannot"],
            ),
            card(
                "virtual function",
                dx.into_virtual_function(),
                &["attached natively", "with a host route", "uninstall"],
            ),
        ],
    );
}

fn others(files: &MachineFiles, kernel: &Kernel) {
    let nic = |name, queues, properties: &[&str]| Subject {
        name,
        device: Device::Qemu {
            model: name,
            queues,
            properties: properties.iter().map(|&one| one.to_owned()).collect(),
        },
        only: short(),
    };
    // The driver refuses programs while the host may merge packets for it.
    let no_merging = [
        "guest_tso4=off",
        "guest_tso6=off",
        "guest_ecn=off",
        "guest_ufo=off",
    ];
    let mut subjects = vec![nic("virtio-net-pci", 4, &no_merging), nic("igb", 1, &[])];
    if kernel.series != KernelSeries::Exact(6, 1) && tries_all() {
        // It has native XDP since 6.6. Not in each run: where a program was attached, the driver sometimes
        // hits a BUG when its interface is closed (`vmxnet3_rq_destroy`, Linux 7.3.4).
        subjects.push(nic("vmxnet3", 1, &[]));
    }
    accept(files, kernel, "others", &subjects);
}

#[test]
fn mlx5_is_accepted_on_the_oldest_kernel() {
    on_kernel(KernelSeries::Exact(6, 1), Choice::Always, mlx5);
}

#[test]
fn mlx5_is_accepted_on_6_12() {
    on_kernel(KernelSeries::Exact(6, 12), Choice::WithAll, mlx5);
}

#[test]
fn mlx5_is_accepted_on_a_longterm_kernel() {
    on_kernel(KernelSeries::Longterm, Choice::Always, mlx5_in_short);
}

#[test]
fn mlx5_is_accepted_on_the_newest_kernel() {
    on_kernel(KernelSeries::Newest, Choice::Always, mlx5);
}

#[test]
fn mlx5_is_accepted_on_arm64_with_pages_of_16_kib() {
    on_arm64(mlx5);
}

#[test]
fn other_native_drivers_are_accepted_on_the_oldest_kernel() {
    on_kernel(KernelSeries::Exact(6, 1), Choice::Always, others);
}

#[test]
fn other_native_drivers_are_accepted_on_the_newest_kernel() {
    on_kernel(KernelSeries::Newest, Choice::Always, others);
}
