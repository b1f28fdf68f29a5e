//! The reader's link: created inside the pod's namespace, held outside of it.

use xdp_lab::bpf::{
    BpfAttachType, {self},
};

use crate::{
    fixture::{Fixture, redirect},
    programs::Programs,
    wait,
};

#[test]
fn a_tcx_link_can_be_created_only_inside_the_pods_namespace() {
    let fixture = Fixture::new();
    let program = fixture.programs.reader();
    let refused = fixture
        .node
        .run(|| bpf::link_create(program, fixture.eth0, BpfAttachType::TcxIngress, 0))
        .unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ENODEV));
}

#[test]
fn a_tcx_link_created_in_the_pods_namespace_can_be_updated_from_the_host() {
    let mut fixture = Fixture::redirecting(redirect());
    fixture.send(1);
    fixture.programs.record();

    let reader_link = fixture.links.last().unwrap();
    let other = Programs::load();
    bpf::link_update(reader_link, other.reader(), fixture.programs.reader()).unwrap();
    fixture.send(1);
    wait::until_eq(1, || other.read());
    assert_eq!(fixture.programs.read(), 1);
}

#[test]
fn two_readers_both_see_a_packet_and_closing_ones_last_handle_detaches_it() {
    let mut fixture = Fixture::redirecting(redirect());
    let other = Programs::load();
    let (program, eth0) = (other.reader(), fixture.eth0);
    let link = fixture
        .pod
        .run(|| bpf::link_create(program, eth0, BpfAttachType::TcxIngress, 0));
    fixture.links.push(link.unwrap());
    fixture.send(1);
    wait::until_eq((1, 1), || (fixture.programs.read(), other.read()));

    let link_of_other = fixture.links.pop().unwrap();
    fixture.links.pop();
    fixture.links.push(link_of_other);
    // A process that another test starts may hold a copy of the descriptor until it executes its program.
    wait::until("the closed one sees nothing more", || {
        let (closed, open) = (fixture.programs.read(), other.read());
        fixture.send(1);
        wait::until_eq(open + 1, || other.read());
        (fixture.programs.read() == closed).then_some(())
    });
}

#[test]
fn a_tcx_link_cannot_be_updated_after_the_pod_is_gone() {
    let Fixture {
        pod,
        node,
        programs,
        mut links,
        ..
    } = Fixture::redirecting(redirect());
    let link = links.pop().unwrap();
    drop(pod);
    let (new, old) = (Programs::load(), programs);
    let errno = || {
        bpf::link_update(&link, new.reader(), old.reader())
            .err()?
            .raw_os_error()
    };
    // The first updates may still find the namespace; then the program is no longer the expected one.
    wait::until_eq(Some(libc::ENOLINK), errno);
    assert!(node.try_command("ip link show h0").is_err());
}
