//! The NIC as the kernel shows it, and its return into the node.

use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::Value;
use xdp_lab::wait_until;

use super::{MTU, PATIENCE, PeerRequest, Site};
use crate::{
    Status,
    acceptance::host::{NicId, command, key_values, nic_name},
};

/// A program on the NIC, as the kernel shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::acceptance) struct KernelProgram {
    /// `XDP_ATTACHED_DRV` is 1.
    pub(in crate::acceptance) mode: u64,
    pub(in crate::acceptance) id: u64,
}

impl Site<'_> {
    /// Returns the program that the kernel shows, if there is one.
    pub(in crate::acceptance) fn kernel_program(&self) -> Option<KernelProgram> {
        let line = format!("ip -json -details link show dev {}", self.nic);
        let shown = command(self.lab.node(), &line).ok()?;
        let parsed: Value = serde_json::from_str(&shown).ok()?;
        let xdp = &parsed[0]["xdp"];
        Some(KernelProgram {
            mode: xdp["mode"].as_u64()?,
            id: xdp["prog"]["id"].as_u64()?,
        })
    }

    /// Waits until the status is as wanted. Meanwhile it must never say that the NIC is attached while the
    /// kernel has no program there.
    pub(in crate::acceptance) fn honest_until(
        &self,
        what: &str,
        wanted: impl Fn(&Status) -> bool,
    ) -> anyhow::Result<Status> {
        let start = Instant::now();
        let mut statuses = 0;
        while start.elapsed() < 2 * PATIENCE {
            let before = self.kernel_program();
            let status = self.agent().status();
            let after = self.kernel_program();
            let Some(status) = status else { continue };
            statuses += 1;
            if before.is_none() && after.is_none() && status.nic_mode(&self.nic) == Some("Native") {
                bail!(
                    "the status says Native, and the kernel shows no program: {:#}",
                    status.json()["nics"]
                );
            }
            if wanted(&status) {
                return Ok(status);
            }
        }
        bail!("timed out waiting until {what}; {statuses} statuses were read")
    }

    /// Returns the NIC's bus address.
    pub(in crate::acceptance) fn bus(&self) -> anyhow::Result<Option<String>> {
        let about = command(self.lab.node(), &format!("ethtool -i {}", self.nic))?;
        Ok(key_values(&about)
            .remove("bus-info")
            .filter(|bus| bus.contains(':')))
    }

    /// Lets a check begin with the NIC connected, whatever the one before has left behind.
    pub(in crate::acceptance) fn ensure_connected(&self) -> anyhow::Result<()> {
        let nic = self.lab.node().find_interface(&self.nic)?;
        if nic.is_some_and(|nic| nic.carrier && nic.mtu == MTU) {
            return Ok(());
        }
        self.restore()
    }

    fn restore(&self) -> anyhow::Result<()> {
        self.peer.done(&PeerRequest::SetLink(true))?;
        if self.lab.node().find_interface(&self.nic)?.is_none() {
            return self.adopt_again();
        }
        self.connect()
    }

    /// Moves the NIC into the node once the driver has created it, in the initial namespace and maybe with
    /// another name.
    pub(in crate::acceptance) fn adopt_again(&self) -> anyhow::Result<()> {
        let mac = self.mac.map(|byte| format!("{byte:02x}")).join(":");
        let selector = NicId::Mac(mac);
        let node = self.lab.node();
        let mut name = String::new();
        // The driver may replace it while it starts.
        wait_until("the NIC is back", 2 * PATIENCE, || {
            name = nic_name(&selector).unwrap_or_default();
            !name.is_empty() && node.adopt(&name).is_ok()
        })?;
        if name != self.nic {
            command(node, &format!("ip link set dev {name} name {}", self.nic))?;
        }
        self.connect()
    }

    /// Waits until the node has lost the NIC.
    pub(in crate::acceptance) fn nic_goes(&self) -> anyhow::Result<()> {
        let gone = || matches!(self.lab.node().find_interface(&self.nic), Ok(None));
        Ok(wait_until("the NIC goes", PATIENCE, gone)?)
    }

    /// Waits this long for what the driver does after a call.
    pub(in crate::acceptance) fn has_carrier(&self) -> anyhow::Result<()> {
        self.lab.node().wait_for_carrier(&self.nic, PATIENCE)?;
        // The driver may still be at its queues.
        std::thread::sleep(Duration::from_millis(200));
        Ok(())
    }
}
