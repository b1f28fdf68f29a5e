//! An agent finds pins of another layout.

use std::fs;

use xdp_agent::{
    datapath::{Attached, Datapath, PodEnd},
    node::netns::Netns,
    testing::HostAndPod,
    uninstall::uninstall,
};
use xdp_plan::nics::XdpMode;

use crate::{
    attach::{host0, xdp},
    bpffs::Bpffs,
};

/// Attaches a NIC and a reader as an agent of another layout. Returns the program id on the NIC.
fn other_layout(fixture: &HostAndPod, bpffs: &Bpffs) -> u32 {
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let (host, pod) = (host0(fixture), fixture.pair().pod);
    let netns = Netns::open(&fixture.pod.path()).unwrap();
    let end = PodEnd {
        netns: &netns,
        ifindex: pod.ifindex,
        name: &pod.name,
    };
    fixture.host.run(|| datapath.attach_nic(host)).unwrap();
    datapath.attach_reader(host, end).unwrap();
    datapath.note_gro(host).unwrap();
    drop(datapath);
    let (now, then) = (bpffs.pinned(), bpffs.pin_dir().join("abi-1"));
    fs::rename(now, then).unwrap();
    xdp(fixture).program_id.unwrap()
}

#[test]
fn the_old_program_stays_attached_until_it_is_replaced() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let before = other_layout(&fixture, &bpffs);
    let host = host0(&fixture);
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    assert_eq!(xdp(&fixture).program_id, Some(before));
    assert_eq!(datapath.pinned().nic(host).unwrap().unwrap().program_id, before);
    assert!(datapath.pinned().gro_switched().unwrap().contains(&host));
    assert!(!bpffs.pin_dir().join("abi-1").exists());

    let attached = fixture.host.run(|| datapath.attach_nic(host)).unwrap();
    assert_eq!(attached, Attached::Updated);
    assert_ne!(xdp(&fixture).program_id, Some(before));
    assert_eq!(xdp(&fixture).mode, XdpMode::Native);
}

#[test]
fn uninstalling_detaches_the_programs_of_another_layout() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    other_layout(&fixture, &bpffs);
    let report = fixture.host.run(|| uninstall(&bpffs.pin_dir())).unwrap();
    assert!(report.remains().is_empty(), "{report}");
    assert_eq!(xdp(&fixture).mode, XdpMode::None);
    assert!(!bpffs.pin_dir().exists());
}
