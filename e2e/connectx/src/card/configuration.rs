//! PCI configuration space.

use crate::card::{interrupts::VECTORS, profile::Profile};

/// The size of the configuration space in bytes.
pub(crate) const SIZE: usize = 4096;

const VENDOR: u16 = 0x15b3;
const SUBSYSTEM: u16 = 0x0016;
/// Status: there is a list of capabilities.
const CAPABILITIES: u16 = 0x10;
/// An Ethernet controller: class 02, subclass 00.
const CLASS: u16 = 0x0200;
/// BAR 0 has 64 bits and is prefetchable. Its size is the size of the region.
const BAR_0: u32 = 0x0c;
/// The command register, and its bit for DMA.
const COMMAND: usize = 0x04;
const BUS_MASTER: u8 = 1 << 2;
const INTERRUPT_PIN: u16 = 1 << 8;

/// Where the capabilities are.
const EXPRESS: usize = 0x60;
const MSI_X: usize = 0x9c;
/// Capability ids.
const EXPRESS_ID: u16 = 0x10;
const MSI_X_ID: u16 = 0x11;

/// An endpoint, capability version 2.
const ENDPOINT: u16 = 0x02;
/// The function can be reset (FLR), and payloads of 512 bytes.
const DEVICE_CAPABILITIES: u32 = 0x1000_8fe2;
/// 16 lanes at 16 GT/s, as `LNKCAP` and `LNKSTA` say it, and the speeds below (`LNKCAP2`).
const LINK_CAPABILITIES: u32 = 0x0000_0104;
const LINK_STATUS: u16 = 0x1104;
const LINK_SPEEDS: u32 = 0x1e;

/// Where the MSI-X table and the pending bits are in BAR 0; QEMU keeps them.
const MSI_X_TABLE: u32 = 0x2000;
const MSI_X_PENDING: u32 = 0x3000;

/// Returns whether software can write a byte.
fn is_writable(offset: usize) -> bool {
    const CACHE_LINE: usize = 0x0c;
    const BAR: std::ops::RangeInclusive<usize> = 0x11..=0x17;
    const INTERRUPT_LINE: usize = 0x3c;
    const DEVICE_CONTROL: std::ops::RangeInclusive<usize> = EXPRESS + 8..=EXPRESS + 9;
    const LINK_CONTROL: std::ops::RangeInclusive<usize> = EXPRESS + 0x10..=EXPRESS + 0x11;
    const MSI_X_CONTROL: usize = MSI_X + 3;

    matches!(offset, CACHE_LINE | INTERRUPT_LINE | MSI_X_CONTROL)
        || [COMMAND..=COMMAND + 1, BAR, DEVICE_CONTROL, LINK_CONTROL]
            .iter()
            .any(|range| range.contains(&offset))
}

/// The configuration space of a card.
pub(crate) struct Configuration(Vec<u8>);

impl Configuration {
    pub(crate) fn new(profile: &Profile) -> Self {
        let mut space = Self(vec![0; SIZE]);
        space.set16(0x00, VENDOR);
        space.set16(0x02, profile.device_id);
        space.set16(0x06, CAPABILITIES);
        space.set16(0x0a, CLASS);
        space.set32(0x10, BAR_0);
        space.set16(0x2c, VENDOR);
        space.set16(0x2e, SUBSYSTEM);
        space.set16(0x34, EXPRESS as u16);
        space.set16(0x3c, INTERRUPT_PIN);
        space.set16(EXPRESS, EXPRESS_ID | (MSI_X as u16) << 8);
        space.set16(EXPRESS + 0x02, ENDPOINT);
        space.set32(EXPRESS + 0x04, DEVICE_CAPABILITIES);
        space.set32(EXPRESS + 0x0c, LINK_CAPABILITIES);
        space.set16(EXPRESS + 0x12, LINK_STATUS);
        space.set32(EXPRESS + 0x2c, LINK_SPEEDS);
        space.set16(MSI_X, MSI_X_ID);
        space.set16(MSI_X + 0x02, VECTORS as u16 - 1);
        space.set32(MSI_X + 0x04, MSI_X_TABLE);
        space.set32(MSI_X + 0x08, MSI_X_PENDING);
        space
    }

    fn set16(&mut self, offset: usize, value: u16) {
        self.0[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn set32(&mut self, offset: usize, value: u32) {
        self.0[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Returns whether the driver lets the card access memory.
    pub(crate) fn is_bus_master(&self) -> bool {
        self.0[COMMAND] & BUS_MASTER != 0
    }

    /// Reads from `offset`; what is behind the end is 0.
    pub(crate) fn read(&self, offset: u64, data: &mut [u8]) {
        for (byte, offset) in data.iter_mut().zip(offset as usize..SIZE) {
            *byte = self.0[offset];
        }
    }

    /// Writes what software can write, and ignores the rest.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        for (byte, offset) in data.iter().zip(offset as usize..SIZE) {
            if is_writable(offset) {
                self.0[offset] = *byte;
            }
        }
    }
}

#[cfg(test)]
mod tests;
