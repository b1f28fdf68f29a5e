//! What can go wrong with a machine.

use std::io;

use super::{FilesError, NoModule, QmpError};

/// A machine cannot be started, or did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A file cannot be used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The kernel has not all modules.
    #[error(transparent)]
    Modules(#[from] NoModule),
    /// The monitor failed.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// A card cannot be pulled.
    #[error(
        "QEMU aborts when the card `{id}` is pulled; remove it in the guest, by /sys/bus/pci/devices/ADDRESS/remove"
    )]
    Unplug {
        /// The card.
        id: String,
    },
    /// QEMU did not start.
    #[error("QEMU did not start:\n{printed}")]
    Start {
        /// What it printed.
        printed: String,
    },
    /// A call to the host's kernel failed.
    #[error("cannot {action}")]
    Host {
        /// The action that failed.
        action: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The machine ended without the result of its command.
    #[error(
        "the machine ended without a result{}; its last lines:\n{tail}",
        warned(warnings)
    )]
    NoResult {
        /// What the kernel warned about.
        warnings: Vec<String>,
        /// The last lines.
        tail: String,
    },
    /// The machine was killed because of a limit.
    #[error("the machine {what}{}; its last lines:\n{tail}", warned(warnings))]
    TimedOut {
        /// Which limit was reached.
        what: String,
        /// What the kernel warned about.
        warnings: Vec<String>,
        /// The last lines.
        tail: String,
    },
    /// `init` could not run the command.
    #[error("the machine could not run its command: {reason}")]
    Init {
        /// The reason.
        reason: String,
    },
    /// The kernel warned, or the command failed.
    #[error("the command ended with {code}{}; its last lines:\n{tail}", warned(warnings))]
    Failed {
        /// The exit code.
        code: i32,
        /// What the kernel warned about.
        warnings: Vec<String>,
        /// The last lines.
        tail: String,
    },
}

fn warned(warnings: &[String]) -> String {
    match warnings.first() {
        Some(first) => format!(", and its kernel warned {} times, first: {first}", warnings.len()),
        None => String::new(),
    }
}
