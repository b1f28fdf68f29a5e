//! The operator: see `xdp-operator --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use xdp_client::process;
use xdp_operator::args::Args;

fn main() -> ExitCode {
    process::exit_code(Args::parse().execute())
}
