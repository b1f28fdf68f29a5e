//! The command queue: slots of 64 bytes, with mailboxes for what does not fit.

use crate::card::{
    bits::Field,
    commands::{NOT_MODELLED, Refusal},
    device::Device,
    findings::Finding,
    layout::{cmd_in, cmd_out},
    queues::Event,
};

/// The size of a slot and its fields (`struct mlx5_cmd_layout`).
const SLOT: usize = 64;
const INPUT_LENGTH: Field = Field::new(0x04 * 8, 32);
const INPUT_MAILBOX: Field = Field::new(0x08 * 8, 64);
const INLINE_INPUT: usize = 0x10;
const INLINE_OUTPUT: usize = 0x20;
const OUTPUT_MAILBOX: Field = Field::new(0x30 * 8, 64);
const OUTPUT_LENGTH: Field = Field::new(0x38 * 8, 32);
/// Signature, token, and last the byte with the owner; the driver owns 0.
const TAIL: usize = 0x3c;
/// The bytes of input and output in the slot itself.
const INLINE: usize = 16;

/// The bytes of a mailbox, and where the address of the next one is (`struct mlx5_cmd_prot_block`).
const MAILBOX: usize = 512;
const NEXT_MAILBOX: u64 = 560;
/// Mailboxes are aligned to this.
const MAILBOX_ALIGNMENT: u64 = 512;
/// More than the largest command that the driver has.
const LONGEST: usize = 1 << 20;

/// The syndrome of a failure that the test asked for, and of a refusal.
const INJECTED: u32 = 0xfa11;
const REFUSED: u32 = 0xbad;

/// How a command ended.
#[derive(Clone, Copy)]
enum Outcome {
    Done,
    Refused(Refusal),
    Injected(u8),
}

impl Device {
    /// Executes the command in a slot, as the driver's doorbell asks.
    pub(crate) fn command(&mut self, slot: u32) {
        let address = self.command_queue + u64::from(slot) * SLOT as u64;
        let mut entry = [0; SLOT];
        if !self.memory.read(address, &mut entry) {
            return;
        }
        let input = self.command_input(&entry);
        let mut output = vec![0; (OUTPUT_LENGTH.get(&entry) as usize).clamp(INLINE, LONGEST)];
        // Without this queue the driver polls, also for the commands that create and destroy it.
        let events = self.event_queue_for(Event::Command);
        let opcode = cmd_in::OPCODE.get(&input) as u16;
        let outcome = match self.injected(opcode) {
            Some(status) => Outcome::Injected(status),
            None => self
                .execute_command(opcode, &input, &mut output)
                .map_or_else(Outcome::Refused, |()| Outcome::Done),
        };
        self.counters.commands += 1;
        self.note(outcome, &input, &mut output);
        self.command_output(address, &entry, &output);
        if let Some(queue) = events {
            let mut data = [0; 28];
            data[..4].copy_from_slice(&(1_u32 << slot).to_be_bytes());
            self.push_event(queue, Event::Command, 0, &data);
        }
    }

    /// Returns the status with which a test lets the command fail.
    fn injected(&mut self, opcode: u16) -> Option<u8> {
        let (status, times) = self.failing.get_mut(&opcode).filter(|(_, times)| *times > 0)?;
        *times -= 1;
        Some(*status)
    }

    /// Writes the status, and keeps a refusal as a finding.
    fn note(&mut self, outcome: Outcome, input: &[u8], output: &mut [u8]) {
        let (status, syndrome) = match outcome {
            Outcome::Done => return,
            Outcome::Refused(refusal) => (refusal.status as u8, REFUSED),
            Outcome::Injected(status) => (status, INJECTED),
        };
        output.fill(0);
        cmd_out::STATUS.set(output, u64::from(status));
        cmd_out::SYNDROME.set(output, u64::from(syndrome));
        let Outcome::Refused(refusal) = outcome else {
            return;
        };
        let opcode = cmd_in::OPCODE.get(input) as u16;
        self.findings.push(if refusal == NOT_MODELLED {
            Finding::UnhandledCommand { opcode }
        } else {
            let modifier = cmd_in::OP_MOD.get(input) as u16;
            Finding::Refused {
                opcode,
                modifier,
                status,
                reason: refusal.reason,
            }
        });
    }

    fn command_input(&mut self, entry: &[u8; SLOT]) -> Vec<u8> {
        let length = (INPUT_LENGTH.get(entry) as usize).clamp(INLINE, LONGEST);
        let mut input = entry[INLINE_INPUT..INLINE_INPUT + INLINE].to_vec();
        let mailboxes = self.mailboxes(INPUT_MAILBOX.get(entry), length - INLINE);
        for address in mailboxes {
            let mut block = vec![0; MAILBOX.min(length - input.len())];
            self.memory.read(address, &mut block);
            input.extend(block);
        }
        input
    }

    fn command_output(&mut self, address: u64, entry: &[u8; SLOT], output: &[u8]) {
        let (inline, rest) = output.split_at(INLINE);
        self.memory.write(address + INLINE_OUTPUT as u64, inline);
        let mailboxes = self.mailboxes(OUTPUT_MAILBOX.get(entry), rest.len());
        for (address, block) in mailboxes.into_iter().zip(rest.chunks(MAILBOX)) {
            self.memory.write(address, block);
        }
        let owned_by_driver = [entry[TAIL], entry[TAIL + 1], 0, 0];
        self.memory.write_owned(address + TAIL as u64, &owned_by_driver);
    }

    /// Returns the addresses of the mailboxes for `length` bytes.
    fn mailboxes(&mut self, first: u64, length: usize) -> Vec<u64> {
        let mut addresses = Vec::new();
        let mut next = first & !(MAILBOX_ALIGNMENT - 1);
        while addresses.len() < length.div_ceil(MAILBOX) && next != 0 {
            addresses.push(next);
            next = self.memory.be64(next + NEXT_MAILBOX);
        }
        addresses
    }
}
