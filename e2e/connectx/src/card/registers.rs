//! BAR 0: the initialization segment, and the UAR pages with the doorbells.

use crate::card::{
    device::{Device, FIRST_UAR, UAR_PAGE},
    findings::Finding,
};

/// The MSI-X table begins here; QEMU keeps it.
const SEGMENT_END: u64 = 0x2000;

/// Registers of the initialization segment (`struct mlx5_init_seg`), big endian.
const FIRMWARE: u64 = 0x00;
const REVISIONS: u64 = 0x04;
const QUEUE_HIGH: u64 = 0x10;
const QUEUE_LOW: u64 = 0x14;
const COMMAND_DOORBELL: u64 = 0x18;
const INITIALIZING: u64 = 0x1fc;
const RESET_REQUEST: u64 = 0x238;
const SYNDROME: u64 = 0x23c;
const TIMER_HIGH: u64 = 0x1000;
const TIMER_LOW: u64 = 0x1004;
const HEALTH_COUNTER: u64 = 0x1010;

/// Revision of the command interface.
const INTERFACE: u32 = 5;
/// The low bits of `QUEUE_LOW`: 2^5 commands of 2^6 bytes.
const QUEUE_SIZE: u32 = 5 << 4 | 6;
const PAGE_BITS: u32 = 0xfff;
/// The state of the interface (`MLX5_NIC_IFC_*`).
const STATE_SHIFT: u32 = 8;
const STATE_BITS: u32 = 7;
pub(crate) const DISABLED: u32 = 1;
const SOFTWARE_RESET: u32 = 7;
/// `INITIALIZING`: done, and the driver can reset the firmware.
const RESET_SUPPORTED: u32 = 1 << 30;
/// `SYNDROME`: an error of the firmware.
const FIRMWARE_ERROR: u32 = 1 << 16;

/// Doorbells in a UAR page.
const ARM_COMPLETIONS: u64 = 0x20;
const EVENTS_ARM: u64 = 0x40;
const EVENTS: u64 = 0x48;
/// Send doorbells (BlueFlame registers), one every 256 bytes.
const SEND: u64 = 0x800;
const SEND_STEP: u64 = 0x100;

/// Queue numbers and consumer indexes have 24 bits.
const INDEX: u32 = 0xff_ffff;

impl Device {
    /// Reads from BAR 0.
    pub(crate) fn read_registers(&self, offset: u64, data: &mut [u8]) {
        for (byte, offset) in data.iter_mut().zip(offset..SEGMENT_END) {
            *byte = self.register(offset & !3).to_be_bytes()[(offset & 3) as usize];
        }
    }

    fn register(&self, offset: u64) -> u32 {
        let (major, minor, subminor) = self.profile.firmware;
        match offset {
            FIRMWARE => u32::from(minor) << 16 | u32::from(major),
            REVISIONS => INTERFACE << 16 | u32::from(subminor),
            QUEUE_HIGH => (self.command_queue >> 32) as u32,
            QUEUE_LOW => self.command_queue as u32 & !PAGE_BITS | self.interface << STATE_SHIFT | QUEUE_SIZE,
            INITIALIZING => RESET_SUPPORTED,
            RESET_REQUEST => u32::from(self.fatal) << 31,
            SYNDROME if self.fatal => FIRMWARE_ERROR,
            TIMER_HIGH => (self.now() >> 32) as u32,
            TIMER_LOW => self.now() as u32,
            HEALTH_COUNTER => self.health(),
            _ => 0,
        }
    }

    /// Writes to BAR 0.
    pub(crate) fn write_registers(&mut self, offset: u64, data: &[u8]) {
        let word = |index: usize| {
            let bytes = data
                .get(index * 4..index * 4 + 4)
                .and_then(|bytes| bytes.try_into().ok());
            u32::from_be_bytes(bytes.unwrap_or_default())
        };
        if offset >= u64::from(FIRST_UAR) * UAR_PAGE {
            return self.doorbell(offset, data.len(), word(0), word(1));
        }
        match offset {
            QUEUE_HIGH => self.command_queue = self.command_queue & 0xffff_ffff | u64::from(word(0)) << 32,
            QUEUE_LOW => {
                self.command_queue = self.command_queue >> 32 << 32 | u64::from(word(0) & !PAGE_BITS);
                self.set_interface(word(0) >> STATE_SHIFT & STATE_BITS);
            }
            COMMAND_DOORBELL => {
                for slot in (0..32).filter(|slot| word(0) >> slot & 1 == 1) {
                    self.command(slot);
                }
            }
            _ => self.findings.push(Finding::UnhandledWrite { offset }),
        }
    }

    fn set_interface(&mut self, state: u32) {
        if self.interface == DISABLED && self.fatal {
            self.restart();
        }
        self.interface = state;
        if state == SOFTWARE_RESET {
            self.restart();
            self.interface = DISABLED;
        }
    }

    fn doorbell(&mut self, offset: u64, length: usize, first: u32, second: u32) {
        if self.interface == DISABLED {
            return;
        }
        match offset % UAR_PAGE {
            ARM_COMPLETIONS if length == 8 => self.arm(second & INDEX, first),
            register @ (EVENTS_ARM | EVENTS) => {
                self.event_doorbell(first >> 24, first & INDEX, register == EVENTS_ARM);
            }
            register if register >= SEND && register % SEND_STEP == 0 && length == 8 => {
                self.run_send_queue(second >> 8);
            }
            _ => self.findings.push(Finding::UnhandledWrite { offset }),
        }
    }
}
