//! The reader's link: made inside the pod's namespace, held outside of it.

use xdp_lab::bpf::{
    AttachPoint, {self},
};

use crate::{
    fixture::{Fixture, redirect},
    programs::Programs,
    wait,
};

#[test]
fn a_tcx_link_is_made_from_inside_the_pods_namespace_only() {
    let fixture = Fixture::new();
    let program = fixture.programs.reader();
    let refused = fixture
        .node
        .run(|| bpf::link_create(program, fixture.eth0, AttachPoint::TcxIngress, 0))
        .unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ENODEV));
}

#[test]
fn a_tcx_link_made_in_the_pods_namespace_is_exchanged_from_the_host() {
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
        .run(|| bpf::link_create(program, eth0, AttachPoint::TcxIngress, 0));
    fixture.links.push(link.unwrap());
    fixture.send(1);
    wait::until_eq((1, 1), || (fixture.programs.read(), other.read()));

    let link_of_other = fixture.links.pop().unwrap();
    fixture.links.pop();
    fixture.links.push(link_of_other);
    // The other test's thread may be starting a process, which holds a copy of the handle for a moment.
    wait::until("the closed one sees nothing more", || {
        let (closed, open) = (fixture.programs.read(), other.read());
        fixture.send(1);
        wait::until_eq(open + 1, || other.read());
        (fixture.programs.read() == closed).then_some(())
    });
}

#[test]
fn a_tcx_link_dies_with_the_pod() {
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
    // The first updates may still find the namespace, and then the program is no longer the one expected.
    wait::until_eq(Some(libc::ENOLINK), errno);
    assert!(node.try_command("ip link show h0").is_err());
}
