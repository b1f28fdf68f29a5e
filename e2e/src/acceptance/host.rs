//! Commands and files of the machine that has the NIC.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use xdp_lab::{Finished, Namespace};

/// The limit for a command.
const PATIENCE: Duration = Duration::from_mins(1);

/// How the NIC is found.
#[derive(Clone, Debug)]
pub enum NicId {
    /// By name.
    Name(String),
    /// By MAC address: names differ between kernels.
    Mac(String),
}

/// Returns the name of the NIC, among the physical interfaces of the calling process's namespace.
pub fn nic_name(selector: &NicId) -> anyhow::Result<String> {
    let mac = match selector {
        NicId::Name(name) => return Ok(name.clone()),
        NicId::Mac(mac) => mac.to_lowercase(),
    };
    for entry in fs::read_dir("/sys/class/net")? {
        let path = entry?.path();
        // An interface stacked on the NIC has its address, and no device.
        let is_nic = path.join("device").exists()
            && fs::read_to_string(path.join("address")).is_ok_and(|address| address.trim() == mac);
        if let (true, Some(name)) = (is_nic, path.file_name().and_then(|name| name.to_str())) {
            return Ok(name.to_owned());
        }
    }
    bail!("no NIC has the address {mac}; see ip link")
}

/// Runs a command in a namespace, whatever its exit status.
pub(super) fn try_command(namespace: &Namespace, line: &str) -> anyhow::Result<Finished> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command")?;
    let mut command = Command::new(program);
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(namespace.spawn(command)?.finish(PATIENCE)?)
}

/// Runs a command in a namespace, and returns what it prints.
pub(super) fn command(namespace: &Namespace, line: &str) -> anyhow::Result<String> {
    let finished = try_command(namespace, line)?;
    if !finished.status.success() {
        bail!(
            "`{line}` ended with {}: {}",
            finished.status,
            finished.stderr.trim()
        );
    }
    Ok(finished.stdout)
}

/// Parses lines `key: value`, as ethtool prints them.
pub(super) fn key_values(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(':')?;
        Some((key.trim().to_owned(), value.trim().to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// Returns the counters of `ethtool -S`, empty if the driver has none.
pub(super) fn statistics(namespace: &Namespace, nic: &str) -> BTreeMap<String, u64> {
    let text = command(namespace, &format!("ethtool -S {nic}")).unwrap_or_default();
    let number = |(key, value): (String, String)| Some((key, value.parse().ok()?));
    key_values(&text).into_iter().filter_map(number).collect()
}

/// Returns the version of the kernel.
pub(super) fn kernel() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_ethtool_is_parsed() {
        let values = key_values("NIC statistics:\n     rx_xdp_drop: 7\n     x: y: z\n");
        assert_eq!(values["rx_xdp_drop"], "7");
        assert_eq!(values["x"], "y: z");
    }
}
