//! What the driver did that a card would not accept, or that the model does not know.

use std::fmt;

/// Something that a test must not see unless it provoked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The driver issued a command that the model does not have; it answers `BAD_OP`.
    UnhandledCommand {
        /// The number of the command (`MLX5_CMD_OP_*`).
        opcode: u16,
    },
    /// The card refused a command.
    Refused {
        /// The number of the command.
        opcode: u16,
        /// The modifier of the command.
        modifier: u16,
        /// The status of the answer (`MLX5_CMD_STAT_*`).
        status: u8,
        /// Why.
        reason: &'static str,
    },
    /// The driver accessed a port register (`ACCESS_REG`) that the model does not have.
    UnhandledRegister {
        /// The number of the register (`MLX5_REG_*`).
        register: u16,
    },
    /// The driver wrote to an address of BAR 0 where there is nothing.
    UnhandledWrite {
        /// The offset in BAR 0.
        offset: u64,
    },
    /// The card accessed guest memory that is not mapped.
    DmaFault {
        /// The bus address.
        address: u64,
        /// Whether the card wrote.
        write: bool,
    },
    /// A queue, a work request or a memory key is not as the card needs it.
    Queue {
        /// The number of the object.
        number: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// The client of the vfio-user socket sent something that the server does not know.
    Transport {
        /// The number of the vfio-user command.
        command: u16,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnhandledCommand { opcode } => write!(f, "unhandled command {opcode:#x}"),
            Self::Refused {
                opcode,
                modifier,
                status,
                reason,
            } => {
                write!(
                    f,
                    "command {opcode:#x} (modifier {modifier:#x}) refused with status {status:#x}: {reason}"
                )
            }
            Self::UnhandledRegister { register } => write!(f, "unhandled register {register:#x}"),
            Self::UnhandledWrite { offset } => write!(f, "write to nothing at {offset:#x} of BAR 0"),
            Self::DmaFault { address, write } => {
                write!(
                    f,
                    "DMA {} of unmapped address {address:#x}",
                    if *write { "write" } else { "read" }
                )
            }
            Self::Queue { number, what } => write!(f, "object {number:#x}: {what}"),
            Self::Transport { command } => write!(f, "unknown vfio-user command {command}"),
        }
    }
}

/// The findings of a card, oldest first.
#[derive(Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    /// More than this many say nothing new.
    const MOST: usize = 1000;

    pub(crate) fn push(&mut self, finding: Finding) {
        if self.0.len() < Self::MOST {
            self.0.push(finding);
        }
    }

    pub(crate) fn queue(&mut self, number: u32, what: &'static str) {
        self.push(Finding::Queue { number, what });
    }

    pub(crate) fn all(&self) -> Vec<Finding> {
        self.0.clone()
    }
}
