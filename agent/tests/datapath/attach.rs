//! Attaching natively, adopting, and leaving others' programs alone.

use std::{collections::BTreeSet, fs};

use xdp_agent::{
    datapath::{Attached, Datapath, PodEnd},
    node::{netlink::host_links, netns::Netns},
    testing::HostAndPod,
};
use xdp_core::tables::ABI_VERSION;
use xdp_plan::{
    change::{Change, XdpAttach},
    hook::{AttachPoint, Hook, Interface},
    installed::{Means, OtherProgram, Program},
    nics::{XdpMode, XdpState},
};

use crate::{bpffs::Bpffs, judge::apply};

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
fn a_program_over_other_maps_is_replaced_although_its_tag_is_the_same() {
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
    if has_extack() {
        let said = "Underlying driver does not support XDP in native mode";
        assert_eq!(error.kernel_text, said);
    }
    let modes = fixture.host.run(|| {
        host_links()
            .unwrap()
            .into_iter()
            .map(|link| link.xdp.mode)
            .collect::<Vec<_>>()
    });
    assert!(modes.iter().all(|mode| *mode == XdpMode::None), "{modes:?}");
}

/// The kernel has a tracepoint for refused attachments since Linux 6.8.
fn has_extack() -> bool {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap();
    symbols.contains("__tracepoint_bpf_xdp_link_attach_failed")
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
    datapath.note_gro(host).unwrap();
    let point = AttachPoint::new(Hook::PodReader, host);
    let read = datapath.attachments().unwrap();
    assert_eq!(read.program(point), Program::Current);
    assert_eq!(read.gro_notes, BTreeSet::from([host]));
    fixture.host.ip("link del host0");
    assert_eq!(datapath.attachments().unwrap().program(point), Program::Stale);
    apply(
        &mut datapath,
        &[
            Change::Detach {
                point,
                interface: None,
            },
            Change::ForgetGro { host },
        ],
    );
    let read = datapath.attachments().unwrap();
    assert_eq!(read.program(point), Program::Absent);
    assert!(read.gro_notes.is_empty() && datapath.pinned().gro_switched().unwrap().is_empty());
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

#[test]
fn a_probed_nic_passes_everything_and_is_not_shown_as_ours_until_the_program_replaces_the_probe() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let nic = host0(&fixture);
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let point = AttachPoint::new(Hook::Nic, nic);
    let interface = Interface {
        ifindex: nic,
        name: "host0".into(),
        netns_id: None,
    };
    let mode = XdpAttach::default();
    let probe = Change::Probe {
        interface: interface.clone(),
        mode,
    };
    fixture.host.run(|| apply(&mut datapath, &[probe]));
    assert_eq!(xdp(&fixture).mode, XdpMode::Native);
    assert_eq!(datapath.pinned().nic(nic).unwrap(), None);
    let read = fixture.host.run(|| datapath.read_hook(point));
    assert_eq!(read.program, Program::Outdated);
    let replace = Change::Replace { point, interface };
    fixture.host.run(|| apply(&mut datapath, &[replace]));
    let read = fixture.host.run(|| datapath.read_hook(point));
    assert_eq!(
        (read.program, read.means),
        (Program::Current, Some(Means::Native))
    );
    assert_eq!(read.program_id, xdp(&fixture).program_id);
    let detach = Change::Detach {
        point,
        interface: None,
    };
    fixture.host.run(|| apply(&mut datapath, &[detach]));
    assert_eq!(xdp(&fixture).mode, XdpMode::None);
}

#[test]
fn what_else_is_at_a_hook_is_read_in_its_order() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let host = host0(&fixture);
    let open = |name: &str| Datapath::open(&bpffs.pin_dir().with_file_name(name)).unwrap();
    let mut owners = [open("first"), open("second"), open("third")];
    let point = AttachPoint::new(Hook::PodOut, host);
    let attach = |owner: &mut Datapath| {
        fixture
            .host
            .run(|| owner.attach_hook(Hook::PodOut, host, "host0"))
    };
    for owner in &mut owners {
        attach(owner).unwrap();
    }
    let states = owners
        .each_ref()
        .map(|owner| fixture.host.run(|| owner.read_hook(point)));
    let id = |index: usize| OtherProgram::Program {
        id: states[index].program_id.unwrap(),
    };
    assert_eq!(
        (&*states[1].before, &*states[1].after),
        (&[id(2)][..], &[id(0)][..])
    );
    assert_eq!(states[0].before, [id(2), id(1)]);
}
