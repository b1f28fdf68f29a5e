//! One boot, an acceptance of each of its devices, and what must hold after it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex},
};

use xdp_connectx::machine::{Kernel, Machine, MachineFiles};
use xdp_e2e::acceptance::AcceptanceReport;
use xdp_lab::Lab;

use crate::{
    device::{Device, Faults, Plugged},
    guest::{command, ends, serve},
};

/// A device, and the checks that are tried on it; none: all.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) device: Device,
    pub(crate) only: &'static [&'static str],
}

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

/// Boots a kernel with these devices. Every acceptance must pass, no card may have found anything, and the
/// kernel may not warn.
pub(crate) fn accept(files: &MachineFiles, kernel: &Kernel, name: &str, subjects: &[Subject]) {
    let _turn = Turn::take();
    let lab = Lab::new().unwrap();
    let here = lab.namespace("qemu").unwrap();
    let mut builder = Machine::builder(files, kernel)
        .unwrap()
        .namespace(here.open().unwrap());
    let mut devices = Vec::new();
    for (subject, number) in subjects.iter().zip(0..) {
        let plugged;
        (builder, plugged) = subject.device.plug(builder, &lab, &here, number);
        devices.push(plugged);
    }
    let runs = devices
        .iter()
        .zip(subjects)
        .map(|(device, subject)| (device.mac.as_str(), subject.only));
    let log = folder().join(format!("{name}-{}.log", kernel.release));
    let mut machine = command(builder, runs).log(&log).start().unwrap();
    for device in &devices {
        device.lay_wire(&here);
    }
    let mut faults = Vec::new();
    for (device, subject) in devices.iter().zip(subjects) {
        match served(&mut machine, device) {
            Ok(mut report) => {
                report.set_date();
                report
                    .subject
                    .insert("device".to_owned(), subject.name.to_owned());
                write(
                    &format!("{}-{}", subject.name, kernel.release).replace(' ', "-"),
                    &report,
                );
                println!("{} on {}\n{report}", subject.name, kernel.release);
                let failed = report
                    .failed()
                    .into_iter()
                    .map(|check| format!("{}: {check}", subject.name));
                faults.extend(failed);
            }
            Err(error) => faults.push(format!("{}: no report: {error}", subject.name)),
        }
    }
    faults.extend(ends(&mut machine).err());
    let findings = devices.iter().flat_map(Plugged::findings);
    faults.extend(findings.map(|finding| format!("the card: {finding:?}")));
    assert!(
        faults.is_empty(),
        "{}\n{}",
        faults.join("\n"),
        machine.output().join("\n")
    );
}

fn served(machine: &mut Machine, device: &Plugged) -> Result<AcceptanceReport, String> {
    let (stream, progress) = (
        machine.peer().map_err(|error| error.to_string())?,
        machine.progress(),
    );
    let mut faults = Faults { device, machine };
    let report = serve(&stream, &device.wire, &device.tap, &mut faults, || {
        progress.note();
    });
    let report = report.map_err(|error| format!("{error:#}"))?;
    report.ok_or_else(|| "the machine ended".to_owned())
}

/// The reports, from which the table in the documentation is made.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("acceptance");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn write(name: &str, report: &AcceptanceReport) {
    let text = serde_json::to_string_pretty(report).unwrap();
    fs::write(folder().join(format!("{name}.json")), text).unwrap();
}
