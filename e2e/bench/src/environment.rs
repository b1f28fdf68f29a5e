//! The machine on which a benchmark ran.

use std::{fs, process::Command};

use serde::{Deserialize, Serialize};

/// Properties of the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Kernel release.
    pub kernel: String,
    /// Model and number of CPUs.
    pub cpu: String,
    /// Whether it is a virtual machine, if the CPU reports it.
    pub virtual_machine: bool,
    /// Active mitigations of CPU vulnerabilities.
    pub mitigations: Vec<String>,
    /// Clock source.
    pub clock: String,
    /// Settings of the BPF JIT compiler.
    pub jit: String,
    /// Share of CPU time that the hypervisor took during the run, in percent.
    pub steal: f64,
    /// A/A spread: difference of a program from itself, 80th percentile, in percent.
    pub aa_spread: f64,
    /// Time of the run, in UTC.
    pub when: String,
    /// Whether it was a quick run, with fewer trials.
    pub quick: bool,
}

/// Time of all CPUs and stolen time, in ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ticks {
    all: f64,
    stolen: f64,
}

impl Environment {
    /// Reads the properties of this machine.
    pub fn read() -> Self {
        let info = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = info.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(": "))
                .map(|(_, value)| value.to_owned())
        };
        let cpus = info.lines().filter(|line| line.starts_with("processor")).count();
        Self {
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: format!(
                "{} × {cpus}",
                field("model name").unwrap_or_else(|| "unknown".to_owned())
            ),
            virtual_machine: field("flags").is_some_and(|flags| flags.contains("hypervisor")),
            mitigations: mitigations(),
            clock: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            jit: format!(
                "bpf_jit_enable {}, bpf_jit_harden {}",
                read("/proc/sys/net/core/bpf_jit_enable"),
                read("/proc/sys/net/core/bpf_jit_harden")
            ),
            when: utc(),
            ..Self::default()
        }
    }

    /// Formats the properties, one per line.
    pub fn lines(&self) -> Vec<String> {
        let hypervisor = if self.virtual_machine {
            ", virtual machine"
        } else {
            ""
        };
        vec![
            format!("Linux {}, {}{hypervisor}", self.kernel, self.cpu),
            format!("clock {}, {}", self.clock, self.jit),
            format!("mitigations: {}", self.mitigations.join("; ")),
            format!("steal {:.2} %, A/A spread {:.1} %", self.steal, self.aa_spread),
        ]
    }
}

impl Ticks {
    /// Reads the current values.
    pub fn now() -> Self {
        Self::parse(&read("/proc/stat"))
    }

    fn parse(stat: &str) -> Self {
        let ticks: Vec<f64> = stat
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .filter_map(|word| word.parse().ok())
            .collect();
        Self {
            all: ticks.iter().take(8).sum(),
            stolen: ticks.get(7).copied().unwrap_or(0.0),
        }
    }

    /// Returns the percentage of time since `then` that was stolen.
    pub fn steal_since(&self, then: &Self) -> f64 {
        100.0 * (self.stolen - then.stolen) / (self.all - then.all).max(1.0)
    }
}

fn mitigations() -> Vec<String> {
    let mut found = Vec::new();
    let entries = fs::read_dir("/sys/devices/system/cpu/vulnerabilities");
    for entry in entries.into_iter().flatten().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        if !text.starts_with("Not affected") {
            found.push(format!(
                "{}: {}",
                entry.file_name().to_string_lossy(),
                text.trim()
            ));
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn utc() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M"]).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_a_share_of_all_time() {
        let then = Ticks::parse("cpu  10 0 10 80 0 0 0 0 0 0\n");
        let now = Ticks::parse("cpu  20 0 20 150 0 0 0 10 0 0\n");
        assert!((now.steal_since(&then) - 10.0).abs() < 1e-9);
    }
}
