//! The programs of the reply path, on the host's ends of pods' pairs and on NICs.

use std::{collections::BTreeSet, fs, process::Command};

use xdp_agent::{
    datapath::{Attached, Datapath},
    testing::HostAndPod,
    uninstall::uninstall,
};
use xdp_core::tables::ABI_VERSION;
use xdp_plan::{hook::Hook, installed::Means};

use crate::{attach::host0, bpffs::Bpffs};

#[test]
fn an_interface_gets_each_program_once_and_keeps_it_without_the_agent() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let host = host0(&fixture);
    for hook in Hook::REPLY_PATH {
        let attach = || {
            let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
            let attached = fixture.host.run(|| datapath.attach_hook(hook, host, "host0"));
            attached.unwrap()
        };
        assert_eq!(attach(), (Means::Tcx, Attached::Created), "{hook:?}");
        assert_eq!(attach(), (Means::Tcx, Attached::Adopted), "{hook:?}");
    }
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    for hook in Hook::REPLY_PATH {
        let found = fixture.host.run(|| datapath.pinned().hooks(hook)).unwrap();
        assert_eq!(found, BTreeSet::from([host]), "{hook:?}");
        assert!(fixture.host.run(|| datapath.detach_hook(hook, host)).unwrap());
        assert!(!fixture.host.run(|| datapath.detach_hook(hook, host)).unwrap());
        assert!(datapath.pinned().hook_pins(hook).unwrap().is_empty());
    }
}

#[test]
fn a_program_over_other_tables_is_replaced() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let host = host0(&fixture);
    let (old, new) = (bpffs.pin_dir(), bpffs.pin_dir().with_file_name("new"));
    let mut before = Datapath::open(&old).unwrap();
    let mut datapath = Datapath::open(&new).unwrap();
    for (hook, pin) in [
        (Hook::PodIn, "pod-in"),
        (Hook::PodOut, "pod-out"),
        (Hook::NicOut, "nic-out"),
    ] {
        fixture
            .host
            .run(|| before.attach_hook(hook, host, "host0"))
            .unwrap();
        let link = format!("abi-{ABI_VERSION}/links/{pin}-{host}");
        fs::rename(old.join(&link), new.join(&link)).unwrap();
        let attached = fixture.host.run(|| datapath.attach_hook(hook, host, "host0"));
        assert_eq!(attached.unwrap(), (Means::Tcx, Attached::Updated), "{hook:?}");
    }
}

#[test]
fn without_tcx_they_are_clsact_filters_side_by_side_attached_once() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let host = host0(&fixture);
    let attach = |hook| {
        let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
        let attached = fixture
            .host
            .run(|| datapath.attach_hook_clsact(hook, host, "host0"));
        attached.unwrap()
    };
    for hook in Hook::REPLY_PATH {
        assert_eq!(attach(hook), Attached::Created, "{hook:?}");
        assert_eq!(attach(hook), Attached::Adopted, "{hook:?}");
    }
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    for hook in Hook::REPLY_PATH {
        let found = fixture.host.run(|| datapath.pinned().hooks(hook)).unwrap();
        assert_eq!(found, BTreeSet::from([host]), "{hook:?}");
        assert!(fixture.host.run(|| datapath.detach_hook(hook, host)).unwrap());
        let found = fixture.host.run(|| datapath.pinned().hooks(hook)).unwrap();
        assert!(found.is_empty(), "{hook:?}");
    }
    drop(datapath);
    // Killed between filter and pin.
    assert_eq!(attach(Hook::PodOut), Attached::Created);
}

fn take_qdisc_off(fixture: &HostAndPod) {
    let arguments = ["-n", &fixture.host.name, "qdisc", "del", "dev", "host0", "clsact"];
    let status = Command::new("tc").args(arguments).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_filter_that_another_process_detached_is_attached_again() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let host = host0(&fixture);
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let mut attach = || {
        fixture
            .host
            .run(|| datapath.attach_hook_clsact(Hook::PodOut, host, "host0"))
    };
    assert_eq!(attach().unwrap(), Attached::Created);
    take_qdisc_off(&fixture);
    assert_eq!(attach().unwrap(), Attached::Updated);
    assert_eq!(attach().unwrap(), Attached::Adopted);
    take_qdisc_off(&fixture);
    let found = fixture.host.run(|| datapath.pinned().hooks(Hook::PodOut));
    assert!(found.unwrap().is_empty());
}

#[test]
fn an_interface_that_was_created_again_gets_the_program_again() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let host = host0(&fixture);
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let mut attach = || {
        fixture
            .host
            .run(|| datapath.attach_hook(Hook::PodIn, host, "host0"))
    };
    assert_eq!(attach().unwrap().1, Attached::Created);
    fixture.host.ip("link del host0");
    fixture
        .host
        .ip(&format!("link add host0 index {host} type veth peer name host1"));
    assert_eq!(attach().unwrap().1, Attached::Created);
    assert_eq!(attach().unwrap().1, Attached::Adopted);
}

#[test]
fn the_pins_of_interfaces_that_are_gone_can_be_taken_away() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let host = host0(&fixture);
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    for hook in Hook::REPLY_PATH {
        fixture
            .host
            .run(|| datapath.attach_hook(hook, host, "host0"))
            .unwrap();
    }
    fixture.host.ip("link del host0");
    for hook in Hook::REPLY_PATH {
        assert!(datapath.pinned().hooks(hook).unwrap().is_empty());
        assert_eq!(datapath.pinned().hook_pins(hook).unwrap(), BTreeSet::from([host]));
        fixture.host.run(|| datapath.detach_hook(hook, host)).unwrap();
        assert!(datapath.pinned().hook_pins(hook).unwrap().is_empty());
    }
}

#[test]
fn uninstalling_takes_them_off() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let host = host0(&fixture);
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    for hook in Hook::REPLY_PATH {
        fixture
            .host
            .run(|| datapath.attach_hook(hook, host, "host0"))
            .unwrap();
    }
    fixture
        .host
        .run(|| datapath.attach_hook_clsact(Hook::PodOut, host, "host0"))
        .unwrap();
    drop(datapath);
    let report = fixture.host.run(|| uninstall(&bpffs.pin_dir())).unwrap();
    assert!(report.remains().is_empty(), "{report}");
    assert!(!bpffs.pin_dir().exists());
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    for hook in Hook::REPLY_PATH {
        let attached = fixture.host.run(|| datapath.attach_hook(hook, host, "host0"));
        assert_eq!(attached.unwrap(), (Means::Tcx, Attached::Created));
    }
}
