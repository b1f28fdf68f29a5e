//! Runs system commands in a namespace.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use xdp_lab::Namespace;

/// Runs a command line of words separated by spaces, and returns its standard output.
pub fn run(namespace: &Namespace, line: &str) -> Result<String> {
    feed(namespace, line, "")
}

/// Runs a command line with this standard input, and returns its standard output.
pub fn feed(namespace: &Namespace, line: &str, input: &str) -> Result<String> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = namespace.spawn(command)?;
    let mut stdin = process.stdin.take().context("no standard input")?;
    stdin
        .write_all(input.as_bytes())
        .with_context(|| format!("`{line}` does not read"))?;
    drop(stdin);
    let finished = process.finish(Duration::from_mins(1))?;
    ensure!(finished.status.success(), "`{line}`: {}", finished.stderr);
    Ok(finished.stdout)
}

/// Returns whether a program is installed.
pub fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([std::path::PathBuf::from("/usr/sbin")])
        .any(|dir| dir.join(program).exists())
}
