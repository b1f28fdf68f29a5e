//! The node agent: see `xdp-agent --help`.

use std::process::ExitCode;

use clap::Parser as _;
use xdp_agent::{Cli, execute};
use xdp_client::process;

fn main() -> ExitCode {
    process::exit_code(execute(Cli::parse()))
}
