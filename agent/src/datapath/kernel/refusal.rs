//! The kernel's own words about a refused attach: its extack, or what the driver wrote to the kernel log.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
};

use nix::net::if_::if_indextoname;

use crate::{datapath::kernel::sys::Extack, node::ethtool};

/// A record of the kernel log is not longer (`PRINTK_MESSAGE_MAX`).
const RECORD: usize = 2048;
/// Lines of the log that are kept.
const LINES: usize = 3;

/// Records the kernel's words from the time when it is created.
#[derive(Debug)]
pub(in crate::datapath) struct Refusal {
    extack: Option<Extack>,
    log: Option<File>,
}

impl Refusal {
    /// Starts to record, as far as the kernel and the process's permissions allow it.
    pub(in crate::datapath) fn record() -> Self {
        Self {
            extack: Extack::record().ok(),
            log: open_log(),
        }
    }

    /// Returns what the kernel said about an interface of the calling thread's namespace; empty if nothing is
    /// known. `mlx5` writes to the kernel log only (Linux 5.15 to 7.1).
    pub(in crate::datapath) fn text(self, ifindex: u32) -> String {
        let extack = self.extack.and_then(|extack| extack.message().ok());
        if let Some(extack) = extack.filter(|text| !text.is_empty()) {
            return extack;
        }
        let Ok(name) = if_indextoname(ifindex) else {
            return String::new();
        };
        let name = name.to_string_lossy().into_owned();
        let bus = ethtool::driver(&name).unwrap_or_default().bus;
        let records = self.log.map(records).unwrap_or_default();
        lines(&records, &[&name, &bus]).join("; ")
    }
}

/// Opens the log behind its last record. It takes `CAP_SYSLOG` where `kernel.dmesg_restrict` is on.
fn open_log() -> Option<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(libc::O_NONBLOCK);
    let mut log = options.open("/dev/kmsg").ok()?;
    log.seek(SeekFrom::End(0)).ok()?;
    Some(log)
}

fn records(mut log: File) -> Vec<String> {
    let mut records = Vec::new();
    let mut record = [0; RECORD];
    // A read returns one record; EAGAIN at the end.
    while let Ok(length @ 1..) = log.read(&mut record) {
        records.push(String::from_utf8_lossy(&record[..length]).into_owned());
    }
    records
}

/// Selects the last messages of a device, without its prefix `driver address name: `.
fn lines(records: &[String], devices: &[&str]) -> Vec<String> {
    let message = |record: &String| {
        let (_, message) = record.lines().next()?.split_once(';')?;
        let devices = devices.iter().filter(|device| !device.is_empty());
        let of_device = |device: &&str| {
            let prefix = format!("{device}: ");
            let at = message.find(&prefix)?;
            let is_word = at == 0 || message[..at].ends_with(' ');
            is_word.then(|| message[at + prefix.len()..].trim().to_owned())
        };
        devices.copied().find_map(|device| of_device(&device))
    };
    let mut found: Vec<String> = records.iter().filter_map(message).collect();
    found.dedup();
    found.split_off(found.len().saturating_sub(LINES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_device_are_selected_without_their_prefix() {
        let records = [
            "4,1,2,-;mlx5_core 0000:01:00.0 eth0: MTU(9000) > 3498, too big\n SUBSYSTEM=pci\n",
            "4,2,2,-;mlx5_core 0000:01:00.0 eth01: not ours\n",
            "6,3,2,-;audit: eth0 is mentioned\n",
            "3,4,2,-;mlx5_core 0000:01:00.0: CREATE_RQ(0x908) failed\n",
        ]
        .map(str::to_owned);
        assert_eq!(
            lines(&records, &["eth0", "0000:01:00.0"]),
            ["MTU(9000) > 3498, too big", "CREATE_RQ(0x908) failed"]
        );
        assert!(lines(&records, &["", ""]).is_empty());
    }
}
