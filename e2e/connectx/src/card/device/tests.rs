use crate::card::{fixture::Fixture, profile::Profile};

/// Registers of BAR 0.
const COMMAND_QUEUE: u64 = 0x14;
const RESET_REQUEST: u64 = 0x238;
const HEALTH_COUNTER: u64 = 0x1010;
/// States of the interface.
const DISABLED: u32 = 1;
const SOFTWARE_RESET: u32 = 7;

impl Fixture {
    fn register(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.device.read_registers(offset, &mut bytes);
        u32::from_be_bytes(bytes)
    }

    fn interface(&self) -> u32 {
        self.register(COMMAND_QUEUE) >> 8 & 7
    }

    fn set_interface(&mut self, state: u32) {
        self.device
            .write_registers(COMMAND_QUEUE, &(state << 8).to_be_bytes());
    }
}

#[test]
fn a_reset_by_the_driver_ends_a_fatal_error() {
    let mut card = Fixture::new();
    card.device.fatal_error();
    assert_eq!((card.register(RESET_REQUEST), card.interface()), (1 << 31, 0));
    card.set_interface(SOFTWARE_RESET);
    assert_eq!((card.register(RESET_REQUEST), card.interface()), (0, DISABLED));
    assert!(card.device.mkeys.is_empty());
}

#[test]
fn a_virtual_function_sees_the_reset_by_another_driver() {
    let mut card = Fixture::of(Profile::default().into_virtual_function());
    card.device.fatal_error();
    assert_eq!(
        (card.register(RESET_REQUEST), card.interface()),
        (1 << 31, DISABLED)
    );
    card.set_interface(0);
    assert_eq!((card.register(RESET_REQUEST), card.interface()), (0, 0));
}

#[test]
fn a_firmware_that_hangs_has_no_sign_of_life() {
    let mut card = Fixture::new();
    let start = card.register(HEALTH_COUNTER);
    while card.register(HEALTH_COUNTER) == start {
        std::thread::yield_now();
    }
    card.device.hang();
    let stuck = card.register(HEALTH_COUNTER);
    let clock = card.device.now();
    while card.device.now() < clock + 156_250 * 30 {
        std::thread::yield_now();
    }
    assert_eq!(card.register(HEALTH_COUNTER), stuck);
    card.set_interface(SOFTWARE_RESET);
    assert_ne!(card.register(HEALTH_COUNTER), stuck);
}

#[test]
fn a_card_without_bus_mastering_receives_nothing() {
    let mut card = Fixture::new();
    let frame = crate::card::fixture::Content::default().frame();
    card.device.receive(&frame);
    card.device.configuration.write(0x04, &[0]);
    card.device.receive(&frame);
    let counters = card.device.counters();
    assert_eq!(
        (counters.received, counters.unmatched, counters.queue_not_ready),
        (2, 1, 1)
    );
}
