//! Lines of the kernel log, where drivers write what no interface shows.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
};

/// A record of the kernel log is not longer (`PRINTK_MESSAGE_MAX`).
const RECORD: usize = 2048;

/// The kernel log from some record on.
#[derive(Debug)]
pub struct KernelLog(File);

impl KernelLog {
    /// Opens the log at its first record. `None`: this process may not read it. It takes `CAP_SYSLOG` where
    /// `kernel.dmesg_restrict` is on, and containers have no `/dev/kmsg`.
    pub fn open() -> Option<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).custom_flags(libc::O_NONBLOCK);
        options.open("/dev/kmsg").ok().map(Self)
    }

    /// Opens the log behind its last record.
    pub fn open_at_end() -> Option<Self> {
        let mut log = Self::open()?;
        log.0.seek(SeekFrom::End(0)).ok()?;
        Some(log)
    }

    /// Returns the messages of a device up to the end of the log, without their prefix `driver address
    /// name: `. `names` are its bus address and the name of its interface.
    pub fn messages(mut self, names: &[&str]) -> Vec<String> {
        let mut messages = Vec::new();
        let mut record = [0; RECORD];
        loop {
            match self.0.read(&mut record) {
                Ok(length @ 1..) => {
                    messages.extend(message(&String::from_utf8_lossy(&record[..length]), names));
                }
                // Records were overwritten in the meantime.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                // EAGAIN at the end.
                Ok(_) | Err(_) => return messages,
            }
        }
    }
}

/// A record is `priority,sequence,time,flags;message`, and lines of properties.
fn message(record: &str, names: &[&str]) -> Option<String> {
    let (_, message) = record.lines().next()?.split_once(';')?;
    let of_device = |name: &&str| {
        let prefix = format!("{name}: ");
        let at = message.find(&prefix)?;
        let is_word = at == 0 || message[..at].ends_with(' ');
        is_word.then(|| message[at + prefix.len()..].trim().to_owned())
    };
    names.iter().filter(|name| !name.is_empty()).find_map(of_device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_of_the_device_are_selected_without_their_prefix() {
        let names = ["eth0", "0000:01:00.0"];
        let of = |record: &str| message(record, &names);
        assert_eq!(
            of("4,1,2,-;mlx5_core 0000:01:00.0 eth0: MTU(9000) > 3498, too big\n SUBSYSTEM=pci\n").as_deref(),
            Some("MTU(9000) > 3498, too big")
        );
        assert_eq!(
            of("3,4,2,-;mlx5_core 0000:01:00.0: CREATE_RQ(0x908) failed\n").as_deref(),
            Some("CREATE_RQ(0x908) failed")
        );
        assert_eq!(
            of("4,2,2,-;mlx5_core 0000:02:00.0 veth0: not this device\n"),
            None
        );
        assert_eq!(of("6,3,2,-;audit: eth0 is mentioned\n"), None);
        assert_eq!(message("6,3,2,-;: odd\n", &["", ""]), None);
    }
}
