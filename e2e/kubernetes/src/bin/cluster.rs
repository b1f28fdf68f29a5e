//! Starts and removes the cluster of `make cluster`, and imports images on its nodes.

use std::process::ExitCode;

use xdp_kubernetes::background;

#[expect(clippy::print_stderr, reason = "the usage of a command line")]
fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["up"] => background::up(),
        ["down"] => background::down(),
        ["load", tar] => background::load(tar.as_ref()),
        // Run by `up`, in the background.
        ["hold"] => background::hold(),
        _ => {
            eprintln!("usage: cluster up | down | load IMAGE.tar");
            Ok(ExitCode::from(2))
        }
    }
}
