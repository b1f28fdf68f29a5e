//! The commands: each is a function from its input to its output, or refused.

mod access_register;
mod adapter;
mod capabilities;
mod counters;
mod keys;
mod pages;
mod port_counters;
mod queue;
mod queues;
mod receive;
mod resources;
mod send;
mod steering;
mod vport;

use std::collections::BTreeMap;

pub(crate) use self::{resources::Kind, vport::Vport};
use crate::card::{
    bits::Field,
    device::Device,
    layout::opcode,
    work_queue::{ERROR, READY, RESET},
};

/// The status of a refused command (`MLX5_CMD_STAT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    BadOperation = 0x2,
    BadParameter = 0x3,
    BadResource = 0x5,
    Busy = 0x6,
    BadState = 0x9,
    NoResources = 0xf,
    BadInputLength = 0x50,
}

impl Status {
    pub(crate) fn because(self, reason: &'static str) -> Refusal {
        Refusal { status: self, reason }
    }
}

/// Why the card does not execute a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    pub(crate) reason: &'static str,
}

pub(crate) type Answer = Result<(), Refusal>;

/// The refusal of a command for an object that does not exist.
pub(crate) fn unknown(reason: &'static str) -> impl FnOnce() -> Refusal {
    move || Status::BadResource.because(reason)
}

/// Removes an object, which must exist.
pub(crate) fn remove<T>(objects: &mut BTreeMap<u32, T>, number: u32, reason: &'static str) -> Answer {
    objects
        .remove(&number)
        .map(drop)
        .ok_or(Status::BadResource.because(reason))
}

/// Returns the part of an input that begins with a field, which must be whole.
pub(crate) fn from(input: &[u8], field: Field) -> Result<&[u8], Refusal> {
    let part = input
        .get(field.byte()..)
        .filter(|part| part.len() >= field.width / 8);
    part.ok_or(Status::BadInputLength.because("the input ends too early"))
}

/// Checks a change of the state of a work queue.
pub(crate) fn transition(from: u64, to: u64) -> Answer {
    let allowed = from == to || matches!((from, to), (RESET, READY) | (READY, ERROR) | (_, RESET));
    allowed
        .then_some(())
        .ok_or(Status::BadState.because("the state does not follow from the current one"))
}

impl Device {
    /// Executes a command; `output` is zero.
    fn execute_command(&mut self, opcode: u16, input: &[u8], output: &mut [u8]) -> Answer {
        match opcode {
            opcode::QUERY_HCA_CAP..=opcode::SET_DRIVER_VERSION => self.adapter_command(opcode, input, output),
            opcode::CREATE_MKEY => self.create_key(input, output),
            opcode::DESTROY_MKEY => self.destroy_key(input),
            opcode::QUERY_SPECIAL_CONTEXTS => {
                Self::special_contexts(output);
                Ok(())
            }
            opcode::CREATE_EQ => self.create_event_queue(input, output),
            opcode::DESTROY_EQ => self.destroy_event_queue(input),
            opcode::CREATE_CQ => self.create_completion_queue(input, output),
            opcode::DESTROY_CQ => self.destroy_completion_queue(input),
            opcode::MODIFY_CQ => self.modify_completion_queue(input),
            opcode::QUERY_VPORT_STATE => {
                self.query_vport_state(output);
                Ok(())
            }
            opcode::MODIFY_VPORT_STATE => Ok(()),
            opcode::QUERY_NIC_VPORT_CONTEXT => self.query_vport_context(input, output),
            opcode::MODIFY_NIC_VPORT_CONTEXT => self.modify_vport_context(input),
            opcode::QUERY_VNIC_ENV..=opcode::QUERY_Q_COUNTER => self.counter_command(opcode, input, output),
            opcode::ACCESS_REG => self.access_register(input, output),
            opcode::ALLOC_PD..=opcode::DELETE_L2_TABLE_ENTRY => self.resource_command(opcode, input, output),
            opcode::CREATE_TIR..=opcode::DESTROY_TIR | opcode::CREATE_RQT..=opcode::DESTROY_RQT => {
                self.hashing_command(opcode, input, output)
            }
            opcode::CREATE_SQ..=opcode::QUERY_SQ => self.send_queue_command(opcode, input, output),
            opcode::CREATE_RQ..=opcode::QUERY_RQ => self.receive_queue_command(opcode, input, output),
            opcode::CREATE_TIS..=opcode::DESTROY_TIS => self.resource_command(opcode, input, output),
            opcode::SET_FLOW_TABLE_ROOT..=opcode::MODIFY_FLOW_TABLE => {
                self.flow_command(opcode, input, output)
            }
            _ => Err(NOT_MODELLED),
        }
    }
}

/// The refusal of a command that the model does not have.
pub(crate) const NOT_MODELLED: Refusal = Refusal {
    status: Status::BadOperation,
    reason: "the model does not have the command",
};

#[cfg(test)]
mod driver;
#[cfg(test)]
mod tests;
