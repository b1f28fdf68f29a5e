//! The chart's seccomp profile: all agents of these tests run under it, and a call that it does not allow
//! fails their test.

use std::process::{Command, Stdio};

use xdp_e2e::{
    Agent,
    seccomp::{PROFILE, SeccompProfile},
};

use crate::fixture::{Fixture, PATIENCE};

#[test]
#[should_panic(expected = "seccomp.json does not allow what the agent called: bpf(0x")]
fn a_call_that_the_profile_does_not_allow_fails_the_test_that_made_it() {
    let fixture = Fixture::new();
    let mut profile = SeccompProfile::parse(PROFILE).unwrap();
    for rule in &mut profile.syscalls {
        rule.names.retain(|name| name != "bpf");
    }
    let agent = Agent::new(&fixture.lab, &fixture.manifests)
        .profile(&profile)
        .unwrap();
    let finished = agent.call(&["preflight"]).unwrap();
    assert!(!finished.status.success(), "{finished:?}");
}

/// The agent has the capabilities for both.
#[test]
fn under_the_profile_no_mount_namespace_can_be_entered_or_made() {
    let fixture = Fixture::new();
    let mut profile = SeccompProfile::parse(PROFILE).unwrap();
    // Of these two programs.
    profile.syscalls[0].names.push("dup".to_owned());
    for (command, call) in [
        ("nsenter --mount=/proc/self/ns/mnt true", libc::SYS_setns),
        ("unshare --mount true", libc::SYS_unshare),
    ] {
        let filter = profile.filter().unwrap();
        let mut words = command.split(' ');
        let mut process = Command::new(words.next().unwrap());
        process.args(words).stdout(Stdio::null()).stderr(Stdio::piped());
        let process = fixture.lab.node().spawn_filtered(process, &filter).unwrap();
        let finished = process.finish(PATIENCE).unwrap();
        assert!(
            finished.stderr.contains("Operation not permitted"),
            "{command}: {finished:?}"
        );
        let refused = filter.refused().into_iter();
        let numbers: Vec<i64> = refused.map(|refused| refused.number.into()).collect();
        assert!(numbers.contains(&call), "{command}: {numbers:?}");
    }
}
