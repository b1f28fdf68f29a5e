//! The node agent: see `xdp-agent --help`.

use std::process::ExitCode;

use clap::Parser as _;
use xdp_agent::{Cli, execute};

#[expect(clippy::print_stderr, reason = "the error of a command line")]
fn main() -> ExitCode {
    match execute(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xdp-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
