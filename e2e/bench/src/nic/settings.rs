//! Settings of a NIC: rings, queues, interrupts, offloads.

use std::{fs, process::Command};

use xdp_lab::Namespace;

use crate::command;

/// Offloads that matter for XDP, as `ethtool -k` names them.
const OFFLOADS: [&str; 6] = [
    "generic-receive-offload",
    "large-receive-offload",
    "rx-checksumming",
    "rx-vlan-offload",
    "receive-hashing",
    "rx-gro-hw",
];

/// Returns the settings of a NIC of the host.
pub(super) fn of(nic: &str) -> String {
    let ask = |flag: &str| -> String {
        let output = Command::new("ethtool").args([flag, nic]).output();
        output.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    text(nic, ask)
}

/// Returns the settings of a NIC inside a namespace.
pub(super) fn inside(node: &Namespace, nic: &str) -> String {
    let ask = |flag: &str| command::run(node, &format!("ethtool {flag} {nic}")).unwrap_or_default();
    text(nic, ask)
}

fn text(nic: &str, ask: impl Fn(&str) -> String) -> String {
    let offloads: Vec<String> = ask("-k")
        .lines()
        .filter(|line| OFFLOADS.iter().any(|name| line.starts_with(name)))
        .map(str::to_owned)
        .collect();
    format!(
        "{nic}: {}\nrings: {}\nqueues: {}\noffloads: {}\ninterrupts: {}",
        joined(&ask("-i")),
        or_none(joined(&ask("-g"))),
        or_none(joined(&ask("-l"))),
        offloads.join("; "),
        or_none(interrupts(nic, &fs::read_to_string("/proc/interrupts").unwrap_or_default()).join("; "))
    )
}

/// Joins all lines that have a value.
fn joined(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty() && !line.ends_with("n/a"))
        .collect();
    lines.join("; ")
}

fn or_none(text: String) -> String {
    if text.is_empty() {
        "not reported by the driver".to_owned()
    } else {
        text
    }
}

/// Returns the CPUs that handle the NIC's interrupts.
fn interrupts(nic: &str, table: &str) -> Vec<String> {
    let of_nic = |line: &&str| {
        line.split_whitespace()
            .last()
            .is_some_and(|name| name.contains(nic))
    };
    let affinity = |line: &str| {
        let number = line.trim_start().split(':').next()?;
        let cpus = fs::read_to_string(format!("/proc/irq/{number}/smp_affinity_list")).ok()?;
        Some(format!("{number} on CPU {}", cpus.trim()))
    };
    table.lines().filter(of_nic).filter_map(affinity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drivers_table_becomes_one_line_without_missing_values() {
        let rings =
            "Ring parameters for eth0:\nPre-set maximums:\nRX:\t\t8192\nRX Mini:\tn/a\n\nTX:\t\t8192\n";
        assert_eq!(
            joined(rings),
            "Ring parameters for eth0:; Pre-set maximums:; RX: 8192; TX: 8192"
        );
    }
}
