//! What is generated is what the types say.

use std::process::Command;

#[test]
fn the_files_in_the_repository_are_what_the_types_say() {
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
