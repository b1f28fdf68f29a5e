//! Nothing gets in or out that the stack would have stopped: the node's own stack is the oracle.
//!
//! `SEED` repeats a run, and `CASES` sets how many cases each setting gets.
#![expect(clippy::print_stdout, reason = "a run prints its seed and what it compared")]

use std::{
    env,
    time::{SystemTime, UNIX_EPOCH},
};

use xdp_e2e::stack::{StackSetting, StackedOn};

/// All settings together: more than 20,000.
const CASES: u64 = 2_300;

/// Compares the two nodes. Fails with all classes of differences.
fn compare(setting: StackSetting) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = number("SEED").unwrap_or_else(|| now.map_or(0, |now| now.as_nanos() as u64));
    let name = setting.name;
    println!("{name}: SEED={seed}");
    let cases = number("CASES").unwrap_or(CASES) as usize;
    match setting.compare(seed, cases) {
        Err(error) => panic!("{name}: SEED={seed}: {error:#}"),
        Ok(None) => println!("{name}: SKIPPED, the kernel has no {:?}", setting.top),
        Ok(Some(report)) => {
            println!("{name}: {report}");
            assert!(report.is_empty(), "{name}: SEED={seed}");
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

const ORDINARY: StackSetting = StackSetting::ORDINARY;

#[test]
fn redirects_let_through_what_the_stack_lets_through() {
    compare(ORDINARY);
}

#[test]
fn peer_redirects_let_through_what_the_stack_lets_through() {
    compare(StackSetting {
        name: "delivery: Peer",
        delivery: "Peer",
        ..ORDINARY
    });
}

#[test]
fn without_reverse_path_filter_the_stack_is_not_more_generous() {
    compare(StackSetting {
        name: "rp_filter=0",
        rp_filter: 0,
        ..ORDINARY
    });
}

#[test]
fn with_a_reverse_path_filter_by_any_interface_the_stack_is_not_stricter() {
    compare(StackSetting {
        name: "rp_filter=2",
        rp_filter: 2,
        ..ORDINARY
    });
}

#[test]
fn nothing_is_forwarded_on_a_node_that_does_not_forward() {
    compare(StackSetting {
        name: "no forwarding",
        forwarding: false,
        ..ORDINARY
    });
}

#[test]
fn a_nic_in_a_bridge_lets_through_what_the_stack_lets_through() {
    compare(StackSetting {
        name: "bridge",
        top: StackedOn::Bridge,
        ..ORDINARY
    });
}

#[test]
fn a_nic_with_a_macvlan_lets_through_what_the_stack_lets_through() {
    compare(StackSetting {
        name: "macvlan",
        top: StackedOn::Macvlan,
        rp_filter: 0,
        ..ORDINARY
    });
}

#[test]
fn a_nic_with_vlans_lets_through_what_the_stack_lets_through() {
    compare(StackSetting::VLAN);
}

#[test]
fn next_to_a_nic_without_program_the_stack_is_not_stricter() {
    compare(StackSetting {
        name: "one NIC",
        nics: "nic0",
        rp_filter: 0,
        ..ORDINARY
    });
}

#[test]
fn pods_that_a_filter_separates_stay_separate() {
    compare(StackSetting {
        name: "separate pods",
        separate_pods: true,
        rp_filter: 0,
        ..ORDINARY
    });
}
