//! The program for delivery `Peer` on a NIC's stack entry.

use std::collections::BTreeSet;

use xdp_agent::{
    datapath::{Attached, Attachment, Datapath},
    uninstall::uninstall,
};

use crate::{attach::host0, bpffs::Bpffs, world::World};

#[test]
fn a_nic_gets_the_program_once_and_keeps_it_without_the_agent() {
    let (world, bpffs) = (World::new(), Bpffs::new());
    let nic = host0(&world);
    let attach = || {
        let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
        world.host.run(|| datapath.attach_peer(nic, "host0")).unwrap()
    };
    assert_eq!(attach(), (Attachment::Tcx, Attached::Created));
    assert_eq!(attach(), (Attachment::Tcx, Attached::Adopted));

    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    assert_eq!(datapath.pinned().peers().unwrap(), BTreeSet::from([nic]));
    assert!(world.host.run(|| datapath.detach_peer(nic)).unwrap());
    assert!(!world.host.run(|| datapath.detach_peer(nic)).unwrap());
    assert!(datapath.pinned().peers().unwrap().is_empty());
}

#[test]
fn without_tcx_it_is_a_clsact_filter_attached_once() {
    let (world, bpffs) = (World::new(), Bpffs::new());
    let nic = host0(&world);
    let attach = || {
        let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
        world
            .host
            .run(|| datapath.attach_peer_clsact(nic, "host0"))
            .unwrap()
    };
    assert_eq!(attach(), Attached::Created);
    assert_eq!(attach(), Attached::Adopted);
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let peers = world.host.run(|| datapath.pinned().peers());
    assert_eq!(peers.unwrap(), BTreeSet::from([nic]));
    assert!(world.host.run(|| datapath.detach_peer(nic)).unwrap());
    drop(datapath);
    // Killed between filter and pin.
    assert_eq!(attach(), Attached::Created);
}

#[test]
fn a_nic_that_is_gone_has_it_no_more() {
    let (world, bpffs) = (World::new(), Bpffs::new());
    let nic = host0(&world);
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    world.host.run(|| datapath.attach_peer(nic, "host0")).unwrap();
    world.host.ip("link del host0");
    assert!(datapath.pinned().peers().unwrap().is_empty());
    assert_eq!(datapath.pinned().peer_pins().unwrap(), BTreeSet::from([nic]));
    world.host.run(|| datapath.detach_peer(nic)).unwrap();
    assert!(datapath.pinned().peer_pins().unwrap().is_empty());
}

#[test]
fn uninstalling_takes_it_off() {
    let (world, bpffs) = (World::new(), Bpffs::new());
    let nic = host0(&world);
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    world.host.run(|| datapath.attach_peer(nic, "host0")).unwrap();
    world
        .host
        .run(|| datapath.attach_peer_clsact(nic, "host0"))
        .unwrap();
    drop(datapath);
    let report = world.host.run(|| uninstall(&bpffs.pin_dir())).unwrap();
    assert!(report.remains().is_empty(), "{report}");
    assert!(!bpffs.pin_dir().exists());
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let attached = world.host.run(|| datapath.attach_peer(nic, "host0")).unwrap();
    assert_eq!(attached, (Attachment::Tcx, Attached::Created));
}
