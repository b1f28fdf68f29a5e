//! Reads the machine and its NICs.

use std::{fs, path::Path};

use xdp_client::error_chain;
use xdp_plan::{
    nics::{NicFacts, NicSelector},
    report::Problem,
};

use crate::{
    datapath::{Pinned, has_tcx},
    node::{
        ethtool,
        netlink::{NetlinkError, host_links},
        nic::{is_virtual_function, nic_facts},
        system::{
            SystemError, {self},
        },
    },
    report::preflight::{
        MachineReport, PciFunction, PreflightReport,
        build::{
            NicDetails, PreflightSnapshot, {self},
        },
    },
};

/// The interfaces could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the interfaces cannot be read")]
pub struct PreflightError(#[from] NetlinkError);

/// Checks the machine and the selected NICs; all physical NICs if the selector is empty.
pub fn collect(selector: &NicSelector, pin_dir: &Path) -> Result<PreflightReport, PreflightError> {
    let nics = nic_facts(&host_links()?)?;
    let installed = Pinned::open(pin_dir).and_then(|pinned| pinned.nics());
    let own = installed.unwrap_or_default().into_iter();
    let details = |nic: &NicFacts| (nic.link.ifindex, details(nic));
    let snapshot = PreflightSnapshot {
        machine: machine(pin_dir),
        cilium: has_cilium(pin_dir),
        own: own
            .map(|(ifindex, program)| (ifindex, program.program_id))
            .collect(),
        details: nics.iter().map(details).collect(),
        nics,
    };
    Ok(build::report(&snapshot, selector))
}

fn machine(pin_dir: &Path) -> MachineReport {
    let pins = system::check_pin_dir(pin_dir);
    let of_pins = match &pins {
        Err(SystemError::Untrusted(_)) => "PinDirectoryUntrusted",
        _ => "NoBpffs",
    };
    let checks = [
        ("NoPermission", system::check_permissions()),
        ("KernelTooOld", system::check_features(&system::probe_basics())),
        (of_pins, pins),
    ];
    let problem = |reason: &str, error: &SystemError| {
        let (text, remedy) = (error_chain(error), error.remedy());
        let message = text.trim_end_matches(&format!("; {remedy}"));
        Problem::new("node", reason, message, remedy)
    };
    let failed = checks.iter().filter_map(|(reason, result)| {
        let error = result.as_ref().err()?;
        Some(problem(reason, error))
    });
    MachineReport {
        kernel: system::kernel_release(),
        architecture: std::env::consts::ARCH,
        page_size: system::page_size(),
        tcx: has_tcx(),
        jit: system::jit(),
        problems: failed.collect(),
    }
}

/// Cilium pins its programs and maps next to the agent's directory; earlier versions in a directory that they
/// share with tc.
fn has_cilium(pin_dir: &Path) -> bool {
    let Some(bpffs) = pin_dir.parent() else {
        return false;
    };
    let globals = fs::read_dir(bpffs.join("tc/globals")).into_iter().flatten();
    let mut names = globals.filter_map(|entry| Some(entry.ok()?.file_name()));
    bpffs.join("cilium").exists() || names.any(|name| name.as_encoded_bytes().starts_with(b"cilium_"))
}

/// What the driver does not answer stays empty.
fn details(nic: &NicFacts) -> NicDetails {
    let name = &nic.link.name;
    NicDetails {
        function: function(&nic.driver.bus),
        channels: ethtool::channels(name).ok(),
        rings: ethtool::rings(name).ok(),
        strips_vlan: ethtool::strips_vlan(name).ok(),
    }
}

/// The PCI devices of sysfs do not depend on the network namespace.
fn function(bus: &str) -> Option<PciFunction> {
    let device = Path::new("/sys/bus/pci/devices").join(bus);
    if bus.is_empty() || !device.exists() {
        return None;
    }
    Some(if is_virtual_function(bus) {
        PciFunction::Virtual
    } else {
        PciFunction::Physical
    })
}
