//! The connection tracking and forwarding counters of a namespace.

use std::{fs, net::IpAddr};

use crate::{LabError, Namespace};

impl Namespace {
    /// Returns the tracked connections, one line each, in the format of `/proc/net/nf_conntrack`.
    pub fn tracked(&self) -> Result<Vec<String>, LabError> {
        let text = self.proc_net("nf_conntrack")?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Returns how many tracked connections have this address and port, at either end and in either
    /// direction.
    pub fn tracked_of(&self, ip: IpAddr, port: u16) -> Result<usize, LabError> {
        // The kernel writes IPv6 addresses in full.
        let address = match ip {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => v6.segments().map(|part| format!("{part:04x}")).join(":"),
        };
        let ends = ["src", "dst"].map(|end| format!("{end}={address}"));
        let ports = ["sport", "dport"].map(|end| format!("{end}={port}"));
        let has = |line: &String, wanted: &[String; 2]| {
            line.split(' ').any(|word| wanted.iter().any(|one| one == word))
        };
        let lines = self.tracked()?;
        Ok(lines
            .iter()
            .filter(|line| has(line, &ends) && has(line, &ports))
            .count())
    }

    /// Returns how many packets the stack has forwarded, IPv4 and IPv6.
    pub fn forwarded(&self) -> Result<u64, LabError> {
        let v4 = self.proc_net("snmp")?;
        let mut ip = v4.lines().filter_map(|line| line.strip_prefix("Ip: "));
        let (names, values) = (ip.next().unwrap_or_default(), ip.next().unwrap_or_default());
        let mut both = names.split(' ').zip(values.split(' '));
        let v4 = both
            .find(|(name, _)| *name == "ForwDatagrams")
            .map(|(_, value)| value);
        let v6 = self.proc_net("snmp6")?;
        let mut lines = v6.lines().map(|line| line.split_whitespace());
        let v6 =
            lines.find_map(|mut words| (words.next() == Some("Ip6OutForwDatagrams")).then(|| words.next()));
        let count = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        Ok(count(v4) + count(v6.flatten()))
    }

    /// Reads a file of `/proc/net`, which belongs to the namespace of the reading thread.
    fn proc_net(&self, name: &str) -> Result<String, LabError> {
        let path = format!("/proc/thread-self/net/{name}");
        self.run(|| fs::read_to_string(&path))?
            .map_err(self.socket_failed(format!("read {path}")))
    }
}
