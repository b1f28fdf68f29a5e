//! Interfaces, pods and processes of a lab.

use std::{
    io::Read,
    process::{Command, Stdio},
};

use xdp_lab::{Lab, LabPodSpec, Signal, Style, wait_until};

use crate::fixture::{SOON, fixture, reaches};

#[test]
fn everything_starts_with_an_mtu_of_1500() {
    let fixture = fixture();
    let node = fixture.lab.node();
    for name in [
        "nic0",
        "nic1",
        "br0",
        &fixture.ptp.host_interface,
        &fixture.bridge.host_interface,
    ] {
        assert_eq!(node.interface(name).unwrap().mtu, 1500, "{name}");
    }
    for (namespace, name) in [(&fixture.nics[0].client, "wire0"), (&fixture.ptp.ns, "eth0")] {
        assert_eq!(namespace.interface(name).unwrap().mtu, 1500, "{name}");
    }
}

#[test]
fn handles_match_the_interfaces() {
    let fixture = fixture();
    let nic = fixture.lab.node().interface("nic0").unwrap();
    assert_eq!(
        (nic.index, nic.mac),
        (fixture.nics[0].ifindex, fixture.nics[0].mac)
    );
    for pod in [&fixture.ptp, &fixture.bridge] {
        let eth0 = pod.ns.interface("eth0").unwrap();
        assert_eq!((eth0.index, eth0.mac), (pod.ifindex, pod.mac));
        let host = fixture.lab.node().interface(&pod.host_interface).unwrap();
        assert_eq!(host.index, pod.host_ifindex);
    }
}

#[test]
fn a_recreated_veth_pair_has_the_same_addresses_and_another_mac() {
    let mut fixture = fixture();
    let client = fixture.nics[0].client.clone();
    for pod in [&mut fixture.ptp, &mut fixture.bridge] {
        let before = (pod.mac, pod.host_ifindex);
        pod.delete_veth().unwrap();
        assert_eq!(pod.ns.find_interface("eth0").unwrap(), None);
        pod.make_veth().unwrap();
        assert!(pod.mac != before.0 && pod.host_ifindex != before.1);
        assert_eq!(pod.ns.interface("eth0").unwrap().mac, pod.mac);
        assert!(pod.addresses().all(|ip| reaches(&client, &pod.ns, ip)));
    }
}

#[test]
fn a_pod_is_reached_at_its_new_addresses_only() {
    let mut fixture = fixture();
    let client = fixture.nics[0].client.clone();
    for (pod, new) in [
        (&mut fixture.ptp, ["10.8.0.9/24", "fd08::9/64"]),
        (&mut fixture.bridge, ["10.9.0.9/24", "fd09::9/64"]),
    ] {
        let old = (pod.v4(), pod.v6());
        pod.set_addresses(&new.map(|net| net.parse().unwrap())).unwrap();
        assert!(pod.addresses().all(|ip| reaches(&client, &pod.ns, ip)));
        assert!(pod.v4() != old.0 && pod.v6() != old.1);
        let gone = pod
            .ns
            .run(|| std::net::UdpSocket::bind((old.0, 0)).is_err())
            .unwrap();
        assert!(gone);
    }
}

#[test]
fn eth0_has_its_addresses_and_routes_again_after_down_and_up() {
    let fixture = fixture();
    let client = &fixture.nics[0].client;
    for pod in [&fixture.ptp, &fixture.bridge] {
        pod.set_up(false).unwrap();
        assert!(!pod.ns.interface("eth0").unwrap().up);
        pod.set_up(true).unwrap();
        assert!(pod.addresses().all(|ip| reaches(client, &pod.ns, ip)));
        pod.set_host_up(false).unwrap();
        pod.set_host_up(true).unwrap();
        assert!(pod.addresses().all(|ip| reaches(client, &pod.ns, ip)));
    }
}

#[test]
fn gro_and_mtus_are_set_and_read_back() {
    let fixture = fixture();
    assert!(!fixture.ptp.gro().unwrap(), "a new veth has GRO off");
    fixture.ptp.set_gro(true).unwrap();
    assert!(fixture.ptp.gro().unwrap());
    fixture.ptp.set_mtu(1400).unwrap();
    fixture.ptp.set_host_mtu(1300).unwrap();
    assert_eq!(fixture.ptp.ns.interface("eth0").unwrap().mtu, 1400);
    let host = fixture.lab.node().interface(&fixture.ptp.host_interface).unwrap();
    assert_eq!(host.mtu, 1300);
}

#[test]
fn a_name_is_free_again_after_its_pod_is_gone() {
    let fixture = fixture();
    let host_interface = fixture.ptp.host_interface.clone();
    fixture.ptp.remove().unwrap();
    assert_eq!(fixture.lab.node().find_interface(&host_interface).unwrap(), None);
    let spec = LabPodSpec::new("ptp", Style::Ptp).v4("10.8.0.2/24".parse().unwrap());
    let pod = fixture.lab.pod(&spec).unwrap();
    assert!(reaches(&fixture.nics[0].client, &pod.ns, pod.v4()));
}

#[test]
fn pods_of_one_lab_do_not_disturb_the_addresses_of_another() {
    let (one, other) = (fixture(), fixture());
    assert!(reaches(&one.nics[0].client, &one.ptp.ns, one.ptp.v4()));
    drop(one);
    assert!(reaches(&other.nics[0].client, &other.ptp.ns, other.ptp.v4()));
}

#[test]
fn a_panic_inside_a_namespace_propagates() {
    let lab = Lab::new().unwrap();
    let panic = std::panic::catch_unwind(|| lab.node().run(|| panic!("inside")));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"inside"));
}

#[test]
fn running_in_a_namespace_does_not_move_the_caller() {
    let own = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let before = own();
    let lab = Lab::new().unwrap();
    let inside = lab.node().run(own).unwrap();
    assert_ne!(inside, before);
    assert_eq!(own(), before);
}

#[test]
fn programs_run_inside_and_their_output_is_readable() {
    let lab = Lab::new().unwrap();
    let inside = lab
        .node()
        .run(|| std::fs::read_link("/proc/thread-self/ns/net").unwrap())
        .unwrap();
    let mut command = Command::new("readlink");
    command.arg("/proc/self/ns/net").stdout(Stdio::piped());
    let finished = lab.node().spawn(command).unwrap().finish(SOON).unwrap();
    assert!(finished.status.success());
    assert_eq!(finished.stdout.trim(), inside.to_str().unwrap());
}

/// The thread that starts a program may end before it.
#[test]
fn a_program_outlives_the_thread_that_started_it() {
    let lab = Lab::new().unwrap();
    let mut cat = std::thread::scope(|scope| {
        let spawn = || {
            let mut cat = Command::new("cat");
            cat.stdin(Stdio::piped()).stdout(Stdio::piped());
            lab.node().spawn(cat).unwrap()
        };
        scope.spawn(spawn).join().unwrap()
    });
    std::io::Write::write_all(&mut cat.stdin.take().unwrap(), b"still here").unwrap();
    let mut text = String::new();
    cat.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "still here");
    assert!(cat.wait(SOON).unwrap().success());
}

#[test]
fn a_signal_ends_a_program() {
    let lab = Lab::new().unwrap();
    let mut command = Command::new("sleep");
    command.arg("1000");
    let sleep = lab.node().spawn(command).unwrap();
    sleep.signal(Signal::SIGTERM).unwrap();
    assert!(!sleep.wait(SOON).unwrap().success());
    wait_until("it is gone", SOON, || sleep.try_wait().unwrap().is_some()).unwrap();
}
