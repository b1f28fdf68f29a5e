//! The pin directory belongs to root alone, with everything that leads to it, or the agent does not start.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use xdp_e2e::Agent;

use crate::fixture::{Fixture, PLAYERS};

/// A user without any rights.
const OTHER: u32 = 65_534;

/// A bpffs as it is mounted by hand: everybody can make directories there.
fn mounted_by_hand(fixture: &Fixture) -> PathBuf {
    let directory = fixture.lab.dir().join("by-hand");
    fs::create_dir(&directory).unwrap();
    let mut command = Command::new("mount");
    let status = command.args(["-t", "bpf", "bpf"]).arg(&directory).status();
    assert!(status.unwrap().success());
    directory
}

/// The agent ends, and names the directory and what to do about it.
#[track_caller]
fn refused(fixture: &Fixture, pin_dir: &Path, named: &Path, words: &[&str]) {
    let mut agent = Agent::new(&fixture.lab, &fixture.manifests).pin_dir(pin_dir);
    agent.start().unwrap();
    let (code, log) = agent.wait_for_end().unwrap();
    assert_ne!(code, Some(0), "{log}");
    let name = format!("`{}`", named.display());
    assert!(log.contains(&name), "{name} is missing in: {log}");
    for word in words {
        assert!(log.contains(word), "`{word}` is missing in: {log}");
    }
}

#[test]
fn a_directory_that_others_can_change_is_refused_by_name() {
    let fixture = Fixture::new();
    let mount = mounted_by_hand(&fixture);
    let pins = mount.join("xdp");
    refused(&fixture, &pins, &mount, &["1777", "chmod go-w"]);
    assert!(!pins.exists());
    // Another user was there first.
    fs::create_dir(&pins).unwrap();
    chown(&pins, Some(OTHER), None).unwrap();
    refused(&fixture, &pins, &mount, &["1777"]);
    fs::set_permissions(&mount, fs::Permissions::from_mode(0o755)).unwrap();
    refused(
        &fixture,
        &pins,
        &pins,
        &["belongs to user 65534", "chown root:root"],
    );
    chown(&pins, Some(0), None).unwrap();
    let link = fixture.lab.dir().join("link");
    symlink(&mount, &link).unwrap();
    refused(
        &fixture,
        &link.join("xdp"),
        &link,
        &["symbolic link", "--pin-dir"],
    );
}

#[test]
fn a_directory_that_only_root_can_change_is_taken() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", xdp_lab::Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    let mount = mounted_by_hand(&fixture);
    fs::set_permissions(&mount, fs::Permissions::from_mode(0o700)).unwrap();
    let mut agent = Agent::new(&fixture.lab, &fixture.manifests).pin_dir(&mount.join("xdp"));
    agent.start().unwrap();
    agent.wait_for("the pod is ready", |status| status.ready("server"));
    drop(pod);
    agent.stop().unwrap();
    agent.uninstall().unwrap();
}
