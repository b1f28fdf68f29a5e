//! Process ids, memory and CPU time of processes.

use std::fs;

use anyhow::{Context as _, Result};
use xdp_lab::Lab;

/// Returns the id of the agent: the process whose command line names the lab's pin directory.
pub fn agent(lab: &Lab) -> Result<u32> {
    let pins = lab.pin_dir().display().to_string();
    let ids = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for id in ids {
        let line = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let words: Vec<&str> = line.split('\0').collect();
        if words.contains(&"run") && words.contains(&pins.as_str()) {
            return Ok(id);
        }
    }
    anyhow::bail!("no agent runs with the pin directory `{pins}`")
}

/// Returns a field of a process's status in kB, such as `VmRSS`.
pub fn kilobytes(id: u32, field: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field));
    let value = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    value.with_context(|| format!("no `{field}` of process {id}"))
}

/// Returns the CPU time that a process has used, in seconds.
pub fn cpu_seconds(id: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name may contain spaces, so fields are counted after it. User and system time are the 14th and 15th
    // field, in ticks of 10 ms.
    let rest = stat.rsplit_once(") ").context("no process name in its stat")?.1;
    let ticks: f64 = rest
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|word| word.parse::<f64>().ok())
        .sum();
    Ok(ticks / 100.0)
}
