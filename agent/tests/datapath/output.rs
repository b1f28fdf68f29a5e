//! Output of the subcommands into a pipe.

use std::{
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
};

use rstest::rstest;
use xdp_core::tables::MIN_FLOWS;

use crate::{
    bpffs::Bpffs,
    entries::{open, two_pods},
};

fn agent(pin_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xdp-agent"));
    command.args(arguments).arg("--pin-dir").arg(pin_dir);
    command
}

#[rstest]
#[case::status(&["status"])]
#[case::status_json(&["status", "--output", "json"])]
#[case::flows(&["flows"])]
#[case::explain(&["explain", "--from", "192.0.2.1", "--to", "server-0", "--protocol", "ICMP"])]
#[case::help(&["status", "--help"])]
#[case::uninstall(&["uninstall"])]
fn a_reader_that_closes_the_pipe_is_no_error(#[case] arguments: &[&str]) {
    let bpffs = Bpffs::new();
    let mut datapath = open(&bpffs, MIN_FLOWS);
    two_pods(&mut datapath);
    drop(datapath);
    let mut child = agent(&bpffs.pin_dir(), arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success(), "{errors}");
    assert_eq!(errors, "");
}
