//! XDP programs, pins and processes on a node.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use xdp_kubernetes::Node;

use super::Installation;

impl Installation {
    /// Returns the kernel ids of the XDP programs on a node's interfaces, by interface name.
    pub fn programs(&self, node: &Node) -> anyhow::Result<BTreeMap<String, u64>> {
        let shown = node.exec_ok(&["ip", "-json", "-details", "link", "show"])?;
        let links: Vec<Value> = serde_json::from_str(&shown)?;
        let programs = links.iter().filter_map(|link| {
            let name = link["ifname"].as_str()?;
            Some((name.to_owned(), link["xdp"]["prog"]["id"].as_u64()?))
        });
        Ok(programs.collect())
    }

    /// Lists everything below a node's `/sys/fs/bpf`, except the kernel's own `maps.debug` and `progs.debug`,
    /// sorted.
    pub fn pins(&self, node: &Node) -> anyhow::Result<Vec<String>> {
        let found = node.exec_ok(&["find", "/sys/fs/bpf", "-mindepth", "1"])?;
        let mut pins: Vec<String> = found
            .lines()
            .filter(|path| {
                Path::new(path)
                    .extension()
                    .is_none_or(|extension| extension != "debug")
            })
            .map(str::to_owned)
            .collect();
        pins.sort();
        Ok(pins)
    }

    /// Returns the id, in the node's pid namespace, of the process of a program whose environment has this
    /// line.
    pub fn pid_with(&self, node: &Node, program: &str, line: &str) -> anyhow::Result<u32> {
        let script = format!(
            "for pid in $(pgrep --exact {program}); do grep --quiet --null-data --line-regexp '{line}' \
             /proc/$pid/environ && echo $pid; done; true"
        );
        let found = node.exec_ok(&["bash", "-c", &script])?;
        let mut pids = found.split_whitespace();
        let pid = pids
            .next()
            .with_context(|| format!("no {program} with {line} on {}", node.name))?;
        ensure!(pids.next().is_none(), "several: {found}");
        Ok(pid.parse()?)
    }
}
