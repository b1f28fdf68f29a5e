//! What must be true of the chart's profile on both architectures.

use std::collections::{BTreeMap, BTreeSet};

use syscalls::{aarch64, x86_64};

use super::{PROFILE, SeccompProfile, SyscallRule};

/// Calls of x86-64 that arm64 lacks, and what glibc calls there instead.
const INSTEAD: [(&str, &[&str]); 9] = [
    ("access", &["faccessat"]),
    ("epoll_wait", &["epoll_pwait"]),
    ("mkdir", &["mkdirat"]),
    ("poll", &["ppoll"]),
    ("readlink", &["readlinkat"]),
    ("rename", &["renameat"]),
    ("rmdir", &["unlinkat"]),
    ("unlink", &["unlinkat"]),
    // Sets the register of thread-local storage, which arm64 does without a call.
    ("arch_prctl", &[]),
];

fn profile() -> SeccompProfile {
    SeccompProfile::parse(PROFILE).unwrap()
}

fn names(profile: &SeccompProfile) -> BTreeSet<&str> {
    let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
    names.map(String::as_str).collect()
}

#[test]
fn what_the_profile_does_not_name_is_refused_on_both_architectures() {
    let profile = profile();
    assert_eq!(profile.default_action, "SCMP_ACT_ERRNO");
    assert_eq!(profile.architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]);
}

#[test]
fn each_name_is_a_system_call_of_one_of_the_architectures() {
    for name in names(&profile()) {
        let is_known = name.parse::<x86_64::Sysno>().is_ok() || name.parse::<aarch64::Sysno>().is_ok();
        assert!(is_known, "{name}");
    }
}

#[test]
fn calls_that_arm64_lacks_have_a_substitute_in_the_profile() {
    let profile = profile();
    let names = names(&profile);
    let instead = BTreeMap::from(INSTEAD);
    let lacking: BTreeSet<&str> = names
        .iter()
        .copied()
        // Arm64 has it, by another name in the library.
        .filter(|&name| name != "newfstatat" && name.parse::<aarch64::Sysno>().is_err())
        .collect();
    assert_eq!(lacking, instead.keys().copied().collect());
    for substitute in instead.values().copied().flatten() {
        assert!(names.contains(substitute), "{substitute}");
    }
}

/// Runtimes would let the rule without conditions win.
#[test]
fn a_call_with_conditions_has_no_rule_without() {
    let profile = profile();
    let named = |has_conditions: bool| -> Vec<&String> {
        let is_wanted = |rule: &&SyscallRule| rule.args.is_empty() != has_conditions;
        let rules = profile.syscalls.iter().filter(is_wanted);
        rules.flat_map(|rule| &rule.names).collect()
    };
    let (with, without) = (named(true), named(false));
    let both: Vec<_> = with.iter().filter(|name| without.contains(name)).collect();
    assert!(both.is_empty(), "{both:?}");
    let once: BTreeSet<_> = without.iter().collect();
    assert_eq!(once.len(), without.len(), "each is named once");
}

#[test]
fn conditions_on_one_argument_are_not_in_one_rule() {
    for rule in profile().syscalls {
        let places: BTreeSet<u8> = rule.args.iter().map(|argument| argument.index).collect();
        assert_eq!(places.len(), rule.args.len(), "runc means `or` by that: {rule:?}");
    }
}

#[test]
fn nothing_is_allowed_that_takes_over_a_node_without_the_agents_own_means() {
    let profile = profile();
    let names = names(&profile);
    for name in [
        "add_key",
        "delete_module",
        "finit_module",
        "fork",
        "fsmount",
        "init_module",
        "io_uring_setup",
        "kexec_file_load",
        "kexec_load",
        "keyctl",
        "kill",
        "mount",
        "move_mount",
        "open_by_handle_at",
        "open_tree",
        "perf_event_open",
        "pidfd_getfd",
        "pivot_root",
        "process_madvise",
        "process_vm_readv",
        "process_vm_writev",
        "ptrace",
        "reboot",
        "umount2",
        "unshare",
        "userfaultfd",
        "vfork",
    ] {
        assert!(!names.contains(name), "{name}");
    }
}
