//! `make cluster` and `make cluster-down`, and images for its nodes.

use std::process::ExitCode;

use xdp_kubernetes::standing;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["up"] => standing::up(),
        ["down"] => standing::down(),
        ["load", tar] => standing::load(tar.as_ref()),
        // `up` starts it, and it stays.
        ["hold"] => standing::hold(),
        _ => {
            eprintln!("usage: cluster up | down | load IMAGE.tar");
            Ok(ExitCode::from(2))
        }
    }
}
