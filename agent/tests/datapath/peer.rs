//! The program for delivery `Peer` on a NIC's stack entry.

use std::collections::BTreeSet;

use xdp_agent::{
    datapath::{Attached, Datapath},
    testing::HostAndPod,
    uninstall::uninstall,
};
use xdp_plan::{hook::Hook, installed::Means};

use crate::{attach::host0, bpffs::Bpffs};

#[test]
fn a_nic_gets_the_program_once_and_keeps_it_without_the_agent() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let nic = host0(&fixture);
    let attach = || {
        let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
        fixture
            .host
            .run(|| datapath.attach_hook(Hook::NicPeer, nic, "host0"))
            .unwrap()
    };
    assert_eq!(attach(), (Means::Tcx, Attached::Created));
    assert_eq!(attach(), (Means::Tcx, Attached::Adopted));

    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    assert_eq!(
        datapath.pinned().hooks(Hook::NicPeer).unwrap(),
        BTreeSet::from([nic])
    );
    assert!(
        fixture
            .host
            .run(|| datapath.detach_hook(Hook::NicPeer, nic))
            .unwrap()
    );
    assert!(
        !fixture
            .host
            .run(|| datapath.detach_hook(Hook::NicPeer, nic))
            .unwrap()
    );
    assert!(datapath.pinned().hooks(Hook::NicPeer).unwrap().is_empty());
}

#[test]
fn without_tcx_it_is_a_clsact_filter_attached_once() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let nic = host0(&fixture);
    let attach = || {
        let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
        fixture
            .host
            .run(|| datapath.attach_hook_clsact(Hook::NicPeer, nic, "host0"))
            .unwrap()
    };
    assert_eq!(attach(), Attached::Created);
    assert_eq!(attach(), Attached::Adopted);
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let peers = fixture.host.run(|| datapath.pinned().hooks(Hook::NicPeer));
    assert_eq!(peers.unwrap(), BTreeSet::from([nic]));
    assert!(
        fixture
            .host
            .run(|| datapath.detach_hook(Hook::NicPeer, nic))
            .unwrap()
    );
    drop(datapath);
    // Killed between filter and pin.
    assert_eq!(attach(), Attached::Created);
}

#[test]
fn a_nic_that_is_gone_has_it_no_more() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let nic = host0(&fixture);
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    fixture
        .host
        .run(|| datapath.attach_hook(Hook::NicPeer, nic, "host0"))
        .unwrap();
    fixture.host.ip("link del host0");
    assert!(datapath.pinned().hooks(Hook::NicPeer).unwrap().is_empty());
    assert_eq!(
        datapath.pinned().hook_pins(Hook::NicPeer).unwrap(),
        BTreeSet::from([nic])
    );
    fixture
        .host
        .run(|| datapath.detach_hook(Hook::NicPeer, nic))
        .unwrap();
    assert!(datapath.pinned().hook_pins(Hook::NicPeer).unwrap().is_empty());
}

#[test]
fn uninstalling_takes_it_off() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let nic = host0(&fixture);
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    fixture
        .host
        .run(|| datapath.attach_hook(Hook::NicPeer, nic, "host0"))
        .unwrap();
    fixture
        .host
        .run(|| datapath.attach_hook_clsact(Hook::NicPeer, nic, "host0"))
        .unwrap();
    drop(datapath);
    let report = fixture.host.run(|| uninstall(&bpffs.pin_dir())).unwrap();
    assert!(report.remains().is_empty(), "{report}");
    assert!(!bpffs.pin_dir().exists());
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let attached = fixture
        .host
        .run(|| datapath.attach_hook(Hook::NicPeer, nic, "host0"))
        .unwrap();
    assert_eq!(attached, (Means::Tcx, Attached::Created));
}
