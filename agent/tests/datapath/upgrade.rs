//! An agent whose tables have another layout than those it finds.

use std::fs;

use xdp_agent::{
    datapath::{Attached, Datapath, PodEnd},
    node::{netlink::XdpMode, netns::Netns},
    uninstall::uninstall,
};

use crate::{
    attach::{host0, xdp},
    bpffs::Bpffs,
    world::World,
};

/// A NIC and a reader, attached by an agent of another layout. The NIC's program.
fn older(world: &World, bpffs: &Bpffs) -> u32 {
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let (host, pod) = (host0(world), world.pair().pod);
    let netns = Netns::open(&world.pod.path()).unwrap();
    let end = PodEnd {
        netns: &netns,
        ifindex: pod.ifindex,
        name: &pod.name,
    };
    world.host.run(|| datapath.attach_nic(host)).unwrap();
    datapath.attach_reader(host, end).unwrap();
    datapath.remember_gro(host).unwrap();
    drop(datapath);
    let (now, then) = (bpffs.pinned(), bpffs.pin_dir().join("abi-1"));
    fs::rename(now, then).unwrap();
    xdp(world).program_id.unwrap()
}

#[test]
fn the_program_of_before_stays_until_it_is_exchanged() {
    let (world, bpffs) = (World::new(), Bpffs::new());
    let before = older(&world, &bpffs);
    let host = host0(&world);
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    assert_eq!(xdp(&world).program_id, Some(before));
    assert_eq!(datapath.pinned().nic(host).unwrap().unwrap().program_id, before);
    assert!(datapath.pinned().gro_switched().unwrap().contains(&host));
    assert!(!bpffs.pin_dir().join("abi-1").exists());

    let attached = world.host.run(|| datapath.attach_nic(host)).unwrap();
    assert_eq!(attached, Attached::Updated);
    assert_ne!(xdp(&world).program_id, Some(before));
    assert_eq!(xdp(&world).mode, XdpMode::Native);
}

#[test]
fn uninstalling_frees_what_another_layout_has_attached() {
    let (world, bpffs) = (World::new(), Bpffs::new());
    older(&world, &bpffs);
    let report = world.host.run(|| uninstall(&bpffs.pin_dir())).unwrap();
    assert!(report.remains().is_empty(), "{report}");
    assert_eq!(xdp(&world).mode, XdpMode::None);
    assert!(!bpffs.pin_dir().exists());
}
