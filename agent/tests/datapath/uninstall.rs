//! Uninstalls, and shows the status while the agent is stopped.

use std::{collections::BTreeSet, fs};

use xdp_agent::{
    datapath::{Datapath, OpenError, PodEnd, Uninstall},
    node::{ethtool, netns::Netns},
    report::{output, status},
    testing::HostAndPod,
    uninstall::uninstall,
};
use xdp_crds::NicMode;
use xdp_plan::{change::Change, hook::Interface, nics::XdpMode, report::Problem};

use crate::{
    attach::{host0, ifindex, xdp},
    bpffs::Bpffs,
    judge::apply,
};

/// Installs a program on a NIC (the host-side veth), a reader, and GRO in the pod, and stops the agent.
fn installed(fixture: &HostAndPod, bpffs: &Bpffs) {
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let host = host0(fixture);
    let pair = fixture.pair();
    fixture.host.run(|| datapath.attach_nic(host)).unwrap();
    let interface = Interface {
        ifindex: pair.pod.ifindex,
        name: pair.pod.name.clone(),
        netns_id: Some(pair.netns_id),
    };
    let switch = Change::SetGro { host, interface };
    fixture.host.run(|| apply(&mut datapath, &[switch]));
    assert!(datapath.pinned().gro_switched().unwrap().contains(&host));
    let netns = Netns::open(&fixture.pod.path()).unwrap();
    let end = PodEnd {
        netns: &netns,
        ifindex: pair.pod.ifindex,
        name: &pair.pod.name,
    };
    datapath.attach_reader(host, end).unwrap();
    datapath.attach_clsact(host, end).unwrap();
    let problem = Problem::new("XdpPolicy games/players", "Limit", "too many", "use fewer");
    datapath
        .set_problems(&[problem, Problem::new("NIC host0", "Mtu", "too long", "lower it")])
        .unwrap();
}

#[test]
fn uninstalling_detaches_the_nic_restores_the_pod_and_leaves_no_pin() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    installed(&fixture, &bpffs);
    let report = fixture.host.run(|| uninstall(&bpffs.pin_dir())).unwrap();
    assert!(
        report.left.is_empty() && report.removed.failures.is_empty(),
        "{report}"
    );
    assert_eq!(report.removed.nics, [host0(&fixture)]);
    assert_eq!(report.gro_restored.len(), 1);
    assert_eq!(xdp(&fixture).mode, XdpMode::None);
    assert!(!fixture.pod.run(|| ethtool::gro("eth0")).unwrap());
    let netns = Netns::open(&fixture.pod.path()).unwrap();
    let end = PodEnd {
        netns: &netns,
        ifindex: fixture.pair().pod.ifindex,
        name: "eth0",
    };
    assert!(!xdp_agent::datapath::detach_clsact(end).unwrap());
    assert!(!bpffs.pin_dir().exists());
}

#[test]
fn uninstalling_counts_the_nics_that_have_the_program_and_not_those_that_are_gone() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let attach = |name| {
        let nic = ifindex(&fixture, name);
        fixture.host.run(|| datapath.attach_nic(nic)).unwrap();
    };
    for _ in 0..2 {
        fixture.host.ip("link add nic1 type veth peer name peer1");
        attach("nic1");
        fixture.host.ip("link del nic1");
    }
    attach("host0");
    drop(datapath);
    let pins = fs::read_dir(bpffs.pinned().join("links")).unwrap().flatten();
    let nics = pins.filter(|pin| pin.file_name().to_string_lossy().starts_with("nic-"));
    assert_eq!(nics.count(), 3, "the agent did not see that the NICs are gone");

    let report = fixture.host.run(|| uninstall(&bpffs.pin_dir())).unwrap();
    assert_eq!(report.removed.nics, [host0(&fixture)]);
    assert_eq!(report.remains(), Vec::<String>::new());
    assert!(!bpffs.pin_dir().exists());
}

#[test]
fn uninstalling_a_broken_directory_leaves_foreign_files() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    installed(&fixture, &bpffs);
    fs::remove_file(bpffs.pinned().join("maps/SLOTS")).unwrap();
    let foreign = bpffs.pin_dir().join("foreign");
    fs::create_dir(&foreign).unwrap();
    let report = fixture.host.run(|| uninstall(&bpffs.pin_dir())).unwrap();
    assert_eq!(xdp(&fixture).mode, XdpMode::None);
    assert!(foreign.exists() && !bpffs.pinned().exists());
    assert_eq!(report.removed.failures.len(), 1, "{report}");
}

#[test]
fn records_about_a_pod_stay_pinned_until_it_is_restored() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    installed(&fixture, &bpffs);
    let failed = BTreeSet::from([host0(&fixture)]);
    let first = fixture
        .host
        .run(|| Uninstall::begin(&bpffs.pin_dir()).unwrap().finish(&failed));
    assert_eq!(first.unwrap().failures, []);
    assert!(fixture.pod.run(|| ethtool::gro("eth0")).unwrap());
    assert!(!bpffs.pinned().join("maps").exists());

    let second = fixture.host.run(|| uninstall(&bpffs.pin_dir())).unwrap();
    assert_eq!((second.gro_restored.len(), second.remains()), (1, Vec::new()));
    assert!(!fixture.pod.run(|| ethtool::gro("eth0")).unwrap());
    assert!(!bpffs.pin_dir().exists());
}

#[test]
fn a_running_agent_is_not_uninstalled() {
    let bpffs = Bpffs::new();
    let _datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let error = uninstall(&bpffs.pin_dir()).unwrap_err();
    assert!(matches!(error, OpenError::Running { .. }), "{error:?}");
}

#[test]
fn the_status_of_a_stopped_agent_is_read_from_the_kernel() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    installed(&fixture, &bpffs);
    let status = fixture.host.run(|| status::collect(&bpffs.pin_dir())).unwrap();
    println!("{}\n{}", status.table(), output::json(&status));
    assert!(!status.agent.running);
    let nic = &status.nics[0];
    assert_eq!(
        (nic.name.as_str(), nic.driver.as_str(), nic.mode),
        ("host0", "veth", NicMode::Native)
    );
    assert_eq!(nic.problems[0].reason, "Mtu");
    assert_eq!(status.problems.len(), 1);
    for part in ["agent stopped", "host0", "Native", &nic.program_tag, "use fewer"] {
        assert!(status.table().contains(part), "{part}");
    }
    assert!(status.table().lines().all(|line| line.chars().count() <= 100));
}
