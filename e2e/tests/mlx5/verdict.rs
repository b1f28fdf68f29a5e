//! One boot, one acceptance, and what must hold after it.

use std::{
    fs::{self},
    path::Path,
    sync::{Condvar, Mutex},
};

use xdp_connectx::{
    Card, Profile,
    machine::{Kernel, Machine, MachineFiles},
};
use xdp_e2e::acceptance::AcceptanceReport;
use xdp_lab::Lab;

use crate::{
    card::{MachineCard, SLOT},
    guest::{acceptance, ends, serve},
};

const TAP: &str = "tap0";

/// Machines at the same time: each has two processors that QEMU emulates.
static FREE: (Mutex<usize>, Condvar) = (Mutex::new(2), Condvar::new());

struct Turn;

impl Turn {
    fn take() -> Self {
        let free = FREE.0.lock().unwrap();
        *FREE.1.wait_while(free, |free| *free == 0).unwrap() -= 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *FREE.0.lock().unwrap() += 1;
        FREE.1.notify_one();
    }
}

/// The acceptance on the mlx5 driver.
pub(crate) fn mlx5(files: &MachineFiles, kernel: &Kernel) {
    let _turn = Turn::take();
    let profile = Profile::CONNECTX_6_DX;
    let mac = profile.mac.map(|byte| format!("{byte:02x}")).join(":");
    let lab = Lab::new().unwrap();
    let wire = lab.namespace("wire").unwrap();
    let tap = wire.tap(TAP).unwrap();
    let mut builder = Machine::builder(files, kernel).unwrap();
    let socket = builder.card(SLOT);
    let card = Card::insert(&socket, profile).unwrap();
    card.connect_tap(tap).unwrap();
    let log = folder().join(format!("mlx5-{}.log", kernel.release));
    let machine = acceptance(builder, &mac).log(&log).start().unwrap();
    let (stream, progress) = (machine.peer().unwrap(), machine.progress());
    let mut control = MachineCard { machine, card };
    let report = serve(&stream, &wire, TAP, Some(&mut control), || progress.note());
    let ended = ends(&mut control.machine);
    let output = || control.machine.output().join("\n");
    let report = report
        .unwrap()
        .unwrap_or_else(|| panic!("no report: {ended:?}\n{}", output()));
    write(&format!("mlx5-{}", kernel.release), &report);
    accepted(&report);
    assert_eq!(ended, Ok(()));
    let findings = control.card.findings();
    assert!(findings.is_empty(), "{findings:#?}");
}

fn accepted(report: &AcceptanceReport) {
    println!("{report}");
    let failed = report.failed();
    assert!(failed.is_empty(), "{} checks failed: {failed:#?}", failed.len());
}

/// The reports, from which the table in the documentation is made.
fn folder() -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("acceptance");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn write(name: &str, report: &AcceptanceReport) {
    let text = serde_json::to_string_pretty(report).unwrap();
    fs::write(folder().join(format!("{name}.json")), text).unwrap();
}
