//! The kernel's own words about a refused attach: its extack, or what the driver wrote to the kernel log.

use nix::net::if_::if_indextoname;

use crate::{
    datapath::kernel::sys::Extack,
    node::{ethtool, kernel_log::KernelLog},
};

/// Messages of the log that are kept.
const MESSAGES: usize = 3;

/// Records the kernel's words from the time when it is created.
#[derive(Debug)]
pub(in crate::datapath) struct Refusal {
    extack: Option<Extack>,
    log: Option<KernelLog>,
}

impl Refusal {
    /// Starts to record, as far as the kernel and the process's permissions allow it.
    pub(in crate::datapath) fn record() -> Self {
        Self {
            extack: Extack::record().ok(),
            log: KernelLog::open_at_end(),
        }
    }

    /// Returns what the kernel said about an interface of the calling thread's namespace; empty if nothing is
    /// known. mlx5 writes to the kernel log only (Linux 5.15 to 7.1).
    pub(in crate::datapath) fn text(self, ifindex: u32) -> String {
        let extack = self.extack.and_then(|extack| extack.message().ok());
        if let Some(extack) = extack.filter(|text| !text.is_empty()) {
            return extack;
        }
        let (Some(log), Ok(name)) = (self.log, if_indextoname(ifindex)) else {
            return String::new();
        };
        let name = name.to_string_lossy().into_owned();
        let bus = ethtool::driver(&name).unwrap_or_default().bus;
        let mut messages = log.messages(&[&name, &bus]);
        messages.dedup();
        messages
            .split_off(messages.len().saturating_sub(MESSAGES))
            .join("; ")
    }
}
