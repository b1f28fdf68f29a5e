//! The generated files are up to date.

use std::process::Command;

#[test]
fn the_generated_files_are_up_to_date() {
    let check = Command::new(env!("CARGO_BIN_EXE_crdgen"))
        .arg("--check")
        .output()
        .unwrap();
    assert!(
        check.status.success(),
        "{}",
        String::from_utf8_lossy(&check.stderr)
    );
}
