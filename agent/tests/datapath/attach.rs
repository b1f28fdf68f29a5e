//! Attaching natively, adopting, and leaving others' programs alone.

use std::{collections::BTreeSet, fs};

use xdp_agent::{
    datapath::{Attached, Datapath, PodEnd},
    node::{
        netlink::{XdpMode, XdpState, host_links},
        netns::Netns,
    },
    testing::HostAndPod,
};
use xdp_core::tables::ABI_VERSION;
use xdp_plan::{hook::Hook, installed::Means};

use crate::bpffs::Bpffs;

#[test]
fn a_nic_gets_the_program_in_the_driver_and_keeps_it_without_the_agent() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let nic = host0(&fixture);
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    assert_eq!(
        fixture.host.run(|| datapath.attach_nic(nic)).unwrap(),
        Attached::Created
    );
    let program = datapath.pinned().nic(nic).unwrap().unwrap();
    drop(datapath);
    assert_eq!(
        xdp(&fixture),
        XdpState {
            mode: XdpMode::Native,
            program_id: Some(program.program_id)
        }
    );

    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    assert_eq!(
        fixture.host.run(|| datapath.attach_nic(nic)).unwrap(),
        Attached::Adopted
    );
    assert_eq!(xdp(&fixture).program_id, Some(program.program_id));
    assert!(datapath.detach_hook(Hook::Nic, nic).unwrap());
    assert_eq!(xdp(&fixture).mode, XdpMode::None);
    assert!(!datapath.detach_hook(Hook::Nic, nic).unwrap());
}

#[test]
fn a_program_over_other_maps_is_exchanged_although_its_tag_is_the_same() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let nic = host0(&fixture);
    let (old, new) = (bpffs.pin_dir(), bpffs.pin_dir().with_file_name("new"));
    let datapath = Datapath::open(&old).unwrap();
    fixture.host.run(|| datapath.attach_nic(nic)).unwrap();
    let before = datapath.pinned().nic(nic).unwrap().unwrap();
    let datapath = Datapath::open(&new).unwrap();
    let link = format!("abi-{ABI_VERSION}/links/nic-{nic}");
    fs::rename(old.join(&link), new.join(&link)).unwrap();

    assert_eq!(
        fixture.host.run(|| datapath.attach_nic(nic)).unwrap(),
        Attached::Updated
    );
    let after = datapath.pinned().nic(nic).unwrap().unwrap();
    assert_eq!(after.program_tag, before.program_tag);
    assert_ne!(after.program_id, before.program_id);
    assert_eq!(xdp(&fixture).program_id, Some(after.program_id));
}

#[test]
fn the_pin_of_a_device_that_is_gone_gives_way() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let nic = host0(&fixture);
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    fixture.host.run(|| datapath.attach_nic(nic)).unwrap();
    fixture.host.ip("link del host0");
    assert_eq!(datapath.pinned().nic(nic).unwrap(), None);
    fixture
        .host
        .ip(&format!("link add host0 index {nic} type veth peer name host1"));
    assert_eq!(
        fixture.host.run(|| datapath.attach_nic(nic)).unwrap(),
        Attached::Created
    );
    assert_eq!(xdp(&fixture).mode, XdpMode::Native);
}

#[test]
fn a_foreign_program_is_named_by_errno_and_not_touched() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let nic = host0(&fixture);
    let foreign = Datapath::open(&bpffs.pin_dir().with_file_name("foreign")).unwrap();
    fixture.host.run(|| foreign.attach_nic(nic)).unwrap();
    let before = xdp(&fixture);
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let error = fixture.host.run(|| datapath.attach_nic(nic)).unwrap_err();
    assert_eq!(error.errno(), libc::EBUSY, "{error:?}");
    assert_eq!(xdp(&fixture), before);
    assert_eq!(datapath.pinned().nic(nic).unwrap(), None);
}

#[test]
fn where_there_is_no_native_xdp_nothing_is_attached() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    fixture.host.ip("link add bridge0 type bridge");
    let bridge = ifindex(&fixture, "bridge0");
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let error = fixture.host.run(|| datapath.attach_nic(bridge)).unwrap_err();
    assert_eq!(error.errno(), libc::EOPNOTSUPP, "{error:?}");
    let modes = fixture.host.run(|| {
        host_links()
            .unwrap()
            .into_iter()
            .map(|link| link.xdp.mode)
            .collect::<Vec<_>>()
    });
    assert!(modes.iter().all(|mode| *mode == XdpMode::None), "{modes:?}");
}

#[test]
fn a_reader_outlives_the_agent_and_its_pin_goes_after_its_pod() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let (host, pod) = (host0(&fixture), fixture.pair().pod);
    let netns = Netns::open(&fixture.pod.path()).unwrap();
    let end = PodEnd {
        netns: &netns,
        ifindex: pod.ifindex,
        name: &pod.name,
    };
    let attach = || {
        Datapath::open(&bpffs.pin_dir())
            .unwrap()
            .attach_reader(host, end)
            .unwrap()
    };
    assert_eq!(attach(), (Means::Tcx, Attached::Created));
    assert_eq!(attach(), (Means::Tcx, Attached::Adopted));

    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    datapath.remember_gro(host).unwrap();
    assert!(
        datapath
            .prune_readers(&BTreeSet::from([host]))
            .unwrap()
            .is_empty()
    );
    assert_eq!(datapath.pinned().gro_switched().unwrap(), BTreeSet::from([host]));
    assert_eq!(datapath.prune_readers(&BTreeSet::new()).unwrap(), [host]);
    assert!(datapath.pinned().gro_switched().unwrap().is_empty());
}

#[test]
fn without_tcx_the_reader_is_a_clsact_filter_attached_once() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let (host, pod) = (host0(&fixture), fixture.pair().pod);
    let netns = Netns::open(&fixture.pod.path()).unwrap();
    let end = PodEnd {
        netns: &netns,
        ifindex: pod.ifindex,
        name: &pod.name,
    };
    let pin = bpffs.pinned().join(format!("links/clsact-{host}"));
    let attach = || {
        Datapath::open(&bpffs.pin_dir())
            .unwrap()
            .attach_clsact(host, end)
            .unwrap()
    };
    assert_eq!(attach(), Attached::Created);
    assert_eq!(attach(), Attached::Adopted);
    // Killed between filter and pin.
    fs::remove_file(&pin).unwrap();
    assert_eq!(attach(), Attached::Created);
    assert!(xdp_agent::datapath::detach_clsact(end).unwrap());
    assert!(!xdp_agent::datapath::detach_clsact(end).unwrap());
}

pub(crate) fn host0(fixture: &HostAndPod) -> u32 {
    ifindex(fixture, "host0")
}

pub(crate) fn ifindex(fixture: &HostAndPod, name: &str) -> u32 {
    let links = fixture.host.run(|| host_links().unwrap());
    links.iter().find(|link| link.name == name).unwrap().ifindex
}

pub(crate) fn xdp(fixture: &HostAndPod) -> XdpState {
    let links = fixture.host.run(|| host_links().unwrap());
    links.iter().find(|link| link.name == "host0").unwrap().xdp
}
