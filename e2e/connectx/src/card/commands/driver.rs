//! A driver, for tests: it writes commands into guest memory and rings the doorbell.

use crate::card::{
    bits::Field,
    commands::Status,
    findings::Finding,
    fixture::Fixture,
    layout::{cmd_in, cmd_out},
    profile::Profile,
};

/// The registers of the command queue in BAR 0.
pub(super) const QUEUE_HIGH: u64 = 0x10;
const QUEUE_LOW: u64 = 0x14;
pub(super) const DOORBELL: u64 = 0x18;

/// A mailbox: data, and the address of the next one.
const MAILBOX: usize = 576;
const DATA: usize = 512;
const NEXT: u64 = 560;

pub(super) struct Driver {
    pub(super) fixture: Fixture,
    pub(super) queue: u64,
}

impl Driver {
    pub(super) fn new() -> Self {
        Self::of(Profile::CONNECTX_6_DX)
    }

    pub(super) fn of(profile: Profile) -> Self {
        let mut fixture = Fixture::of(profile);
        let queue = fixture.allocate(4096);
        fixture
            .device
            .write_registers(QUEUE_HIGH, &((queue >> 32) as u32).to_be_bytes());
        fixture
            .device
            .write_registers(QUEUE_LOW, &(queue as u32).to_be_bytes());
        Self { fixture, queue }
    }

    /// Writes mailboxes with data; returns the address of the first.
    pub(super) fn mailboxes(&mut self, data: &[u8]) -> u64 {
        let mut next = 0_u64;
        for block in data.chunks(DATA).rev() {
            let mailbox = self.fixture.allocate(MAILBOX);
            self.fixture.write(mailbox, block);
            self.fixture.write(mailbox + NEXT, &next.to_be_bytes());
            next = mailbox;
        }
        next
    }

    /// Issues a command in the slot and returns its output.
    pub(super) fn issue(&mut self, slot: u32, input: &[u8], length: usize) -> Vec<u8> {
        let mut entry = [0; 64];
        let (inline, rest) = input.split_at(16);
        let (to_card, from_card) = (self.mailboxes(rest), self.mailboxes(&vec![0xee; length - 16]));
        for (byte, width, value) in [
            (0x04, 32, input.len() as u64),
            (0x08, 64, to_card),
            (0x30, 64, from_card),
            (0x38, 32, length as u64),
            (0x3f, 8, 1),
        ] {
            Field::new(byte * 8, width).set(&mut entry, value);
        }
        entry[0x10..0x20].copy_from_slice(inline);
        let address = self.queue + u64::from(slot) * 64;
        self.fixture.write(address, &entry);
        self.fixture
            .device
            .write_registers(DOORBELL, &(1_u32 << slot).to_be_bytes());
        let entry = self.fixture.read(address, 64);
        assert_eq!(entry[0x3f], 0, "the slot is the driver's again");
        let mut output = entry[0x20..0x30].to_vec();
        let mut mailbox = from_card;
        while output.len() < length {
            let part = DATA.min(length - output.len());
            output.extend(self.fixture.read(mailbox, part));
            mailbox = self.fixture.device.memory.be64(mailbox + NEXT);
        }
        output
    }

    /// Executes a command of which the fields are given; returns its output.
    pub(super) fn run(&mut self, opcode: u16, length: usize, fields: &[(Field, u64)]) -> Vec<u8> {
        let mut input = vec![0; length];
        cmd_in::OPCODE.set(&mut input, u64::from(opcode));
        for (field, value) in fields {
            field.set(&mut input, *value);
        }
        self.issue(0, &input, 256)
    }

    /// Executes a command that must succeed.
    pub(super) fn must(&mut self, opcode: u16, length: usize, fields: &[(Field, u64)]) -> Vec<u8> {
        let output = self.run(opcode, length, fields);
        assert_eq!(
            cmd_out::STATUS.get(&output),
            0,
            "{:?}",
            self.fixture.device.findings()
        );
        output
    }

    /// Executes a command that the card must refuse; returns the reason.
    pub(super) fn refused(
        &mut self,
        status: Status,
        opcode: u16,
        length: usize,
        fields: &[(Field, u64)],
    ) -> &'static str {
        let output = self.run(opcode, length, fields);
        assert_eq!(cmd_out::STATUS.get(&output), status as u64);
        match self.fixture.device.findings().last() {
            Some(Finding::Refused {
                opcode: found,
                status: code,
                reason,
                ..
            }) => {
                assert_eq!((*found, *code), (opcode, status as u8));
                reason
            }
            other => panic!("no refusal: {other:?}"),
        }
    }
}
