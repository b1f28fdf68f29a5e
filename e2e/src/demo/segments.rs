//! How many TCP segments a namespace's own stack sent and received.

use std::{collections::BTreeMap, fs};

use anyhow::Context as _;
use xdp_lab::Namespace;

/// Counted by the kernel since the namespace exists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segments {
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Segments {
    pub(super) fn of(namespace: &Namespace) -> anyhow::Result<Self> {
        // `/proc/net` would be the main thread's.
        let text = namespace.run(|| fs::read_to_string("/proc/thread-self/net/snmp"))??;
        let counters = tcp(&text).context("no TCP counters in /proc/net/snmp")?;
        let value = |name: &str| counters.get(name).copied().context("a TCP counter is missing");
        Ok(Self {
            // What is sent again is counted apart.
            sent: value("OutSegs")? + value("RetransSegs")?,
            received: value("InSegs")?,
        })
    }
}

/// Two lines, names and values.
fn tcp(text: &str) -> Option<BTreeMap<&str, u64>> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    // One of them (MaxConn) may be negative.
    let values = values.split(' ').map(|value| value.parse().unwrap_or(0));
    Some(names.split(' ').zip(values).collect())
}
