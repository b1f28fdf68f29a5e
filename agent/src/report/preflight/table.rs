//! The report as text.

use std::fmt::Write as _;

use xdp_plan::report::Problem;

use crate::report::preflight::{MachineReport, NicReport, OffloadsReport, PreflightReport};

pub(super) fn render(report: &PreflightReport) -> String {
    let mut text = machine(&report.machine);
    for nic in &report.nics {
        text.push('\n');
        text.push_str(&describe(nic));
    }
    if report.nics.is_empty() {
        text.push_str("\nno NIC is selected\n");
    }
    problems(&mut text, "", &report.problems);
    let verdict = if report.passed {
        "passed: the program would be attached in the driver of every selected NIC"
    } else {
        "failed: see the problems above"
    };
    text + "\n" + verdict
}

fn machine(machine: &MachineReport) -> String {
    let mut text = String::new();
    let hook = if machine.tcx { "tcx" } else { "clsact" };
    line(&mut text, "kernel", &machine.kernel);
    line(&mut text, "architecture", machine.architecture);
    line(&mut text, "page size", &machine.page_size.to_string());
    line(&mut text, "classifiers", hook);
    line(&mut text, "JIT compiler", answer(machine.jit));
    problems(&mut text, "", &machine.problems);
    text
}

fn describe(nic: &NicReport) -> String {
    let mut text = format!("NIC {}\n", nic.name);
    let function = nic.function.map_or("", |function| function.name());
    let driver = [nic.driver.as_str(), &nic.bus, function]
        .iter()
        .filter(|word| !word.is_empty())
        .copied()
        .collect::<Vec<_>>();
    field(&mut text, "driver", &driver.join(" "));
    field(&mut text, "firmware", &nic.firmware);
    field(&mut text, "link", &link(nic));
    field(&mut text, "MTU", &mtu(nic));
    if let Some(channels) = nic.channels {
        let numbers = format!(
            "{} of {} combined, {} rx, {} tx",
            channels.combined, channels.combined_max, channels.rx, channels.tx
        );
        field(&mut text, "queues", &numbers);
    }
    if let Some(rings) = nic.rings {
        let sizes = format!(
            "rx {} of {}, tx {} of {}",
            rings.rx, rings.rx_max, rings.tx, rings.tx_max
        );
        field(&mut text, "rings", &sizes);
    }
    field(&mut text, "settings", &settings(nic.offloads));
    let features = nic.features.as_ref();
    let features = features.map_or_else(|| "unknown".to_owned(), |features| features.join(", "));
    field(
        &mut text,
        "XDP features",
        if features.is_empty() { "none" } else { &features },
    );
    if let Some(program) = nic.program {
        field(
            &mut text,
            "program",
            &format!("id {}, {}", program.id, program.mode.name()),
        );
    }
    if let Some(master) = &nic.master {
        field(
            &mut text,
            "part of",
            &format!("{} ({})", master.name, master.kind),
        );
    }
    field(&mut text, "VLANs", &nic.vlans.join(", "));
    let rules = format!(
        "Pass, Drop, Reject, rate limits: {}; delivery Redirect: {}; delivery Peer: {}",
        nic.rules.filter.name(),
        nic.rules.redirect.name(),
        nic.rules.peer.name()
    );
    field(&mut text, "rules", &rules);
    problems(&mut text, "  ", &nic.problems);
    problems(&mut text, "  ", &nic.advice);
    text
}

fn link(nic: &NicReport) -> String {
    let up = if nic.up { "up" } else { "down" };
    let carrier = if nic.carrier { "carrier" } else { "no carrier" };
    format!("{up}, {carrier}")
}

fn mtu(nic: &NicReport) -> String {
    let limit = nic.mtu_limit.map(|limit| format!(", at most {limit} with XDP"));
    format!("{}{}", nic.mtu, limit.unwrap_or_default())
}

fn settings(offloads: OffloadsReport) -> String {
    [
        ("LRO", Some(offloads.lro)),
        ("HW-GRO", Some(offloads.hw_gro)),
        ("TCP data split", Some(offloads.tcp_data_split)),
        ("striding receive queues", offloads.striding_receive_queues),
        ("VLAN stripping", offloads.vlan_stripping),
    ]
    .into_iter()
    .filter(|(_, value)| value.is_some())
    .map(|(name, value)| format!("{name} {}", answer(value)))
    .collect::<Vec<_>>()
    .join(", ")
}

const fn answer(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "on",
        Some(false) => "off",
        None => "unknown",
    }
}

/// Writes a field of a NIC. An empty one is left out.
fn field(text: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        line(text, &format!("  {name}"), value);
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{name:<16}{value}");
}

fn problems(text: &mut String, indent: &str, problems: &[Problem]) {
    for problem in problems {
        let Problem {
            reason,
            message,
            remedy,
            ..
        } = problem;
        let _ = writeln!(text, "{indent}{reason}: {message}\n{indent}  remedy: {remedy}");
    }
}
