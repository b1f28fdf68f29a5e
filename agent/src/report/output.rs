//! Standard output of the subcommands.

use std::io::{
    Write as _, {self},
};

use serde::Serialize;

/// Serializes the output of a subcommand as JSON.
///
/// # Panics
/// If the type serializes maps with keys that are not text, or can fail to serialize. No output of the agent
/// does.
pub fn json(output: &impl Serialize) -> String {
    serde_json::to_string_pretty(output)
        .expect("the output is made of strings, numbers and maps with text keys")
}

/// Prints a text and a line break. A reader that has closed the pipe, as `head` does, is not an error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
