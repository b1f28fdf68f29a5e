//! The number of TCP segments that a namespace's stack has sent and received.

use std::{collections::BTreeMap, fs};

use anyhow::Context as _;
use xdp_lab::Namespace;

/// The kernel's counters since the namespace was created.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segments {
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Segments {
    pub(super) fn of(namespace: &Namespace) -> anyhow::Result<Self> {
        // `/proc/net` belongs to the main thread's namespace.
        let text = namespace.run(|| fs::read_to_string("/proc/thread-self/net/snmp"))??;
        let counters = tcp(&text).context("no TCP counters in /proc/net/snmp")?;
        let value = |name: &str| counters.get(name).copied().context("a TCP counter is missing");
        Ok(Self {
            // OutSegs does not include retransmissions.
            sent: value("OutSegs")? + value("RetransSegs")?,
            received: value("InSegs")?,
        })
    }
}

/// Parses two lines: names and values.
fn tcp(text: &str) -> Option<BTreeMap<&str, u64>> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    // One of them (MaxConn) may be negative.
    let values = values.split(' ').map(|value| value.parse().unwrap_or(0));
    Some(names.split(' ').zip(values).collect())
}
