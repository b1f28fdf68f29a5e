//! The operator's binary.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use xdp_operator::args::Args;

#[expect(clippy::print_stderr, reason = "the error of a command line")]
fn main() -> ExitCode {
    match Args::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
