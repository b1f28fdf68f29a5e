//! The order in which a veth becomes able to accept redirected packets.

use xdp_agent::{
    node::{
        ethtool,
        netlink::genl::{
            NDO_XMIT, {self},
        },
        netns::Namespaces,
        readiness::{Prepared, prepare},
    },
    testing::HostAndPod,
};
use xdp_plan::facts::{NotReady, Readiness};

fn prepare_pod(fixture: &HostAndPod) -> Prepared {
    let pair = fixture.pair();
    fixture.host.run(|| prepare(&pair, &mut Namespaces::default()))
}

fn gro(fixture: &HostAndPod) -> bool {
    fixture.pod.run(|| ethtool::gro("eth0").unwrap())
}

fn set_gro(fixture: &HostAndPod, on: bool) {
    fixture.pod.run(|| ethtool::set_gro("eth0", on).unwrap());
}

fn takes_redirects(fixture: &HostAndPod) -> bool {
    let ifindex = fixture.pair().host.ifindex;
    fixture.host.run(|| genl::xdp_features(ifindex).unwrap().unwrap()) & NDO_XMIT != 0
}

#[test]
fn a_new_veth_has_gro_off_and_accepts_no_redirects() {
    let fixture = HostAndPod::new();
    assert!(!gro(&fixture) && !takes_redirects(&fixture));
}

#[test]
fn gro_on_an_interface_that_is_up_makes_its_peer_accept_redirects() {
    let fixture = HostAndPod::new();
    set_gro(&fixture, true);
    assert!(takes_redirects(&fixture));
    set_gro(&fixture, false);
    assert!(!takes_redirects(&fixture));
}

#[test]
fn gro_on_an_interface_that_is_down_is_not_enough_even_once_it_is_up() {
    let fixture = HostAndPod::with_pod_down();
    set_gro(&fixture, true);
    assert!(!takes_redirects(&fixture));
    fixture.pod.ip("link set eth0 up");
    assert!(!takes_redirects(&fixture));
}

#[test]
fn an_interface_set_down_still_shows_ndo_xmit() {
    let fixture = HostAndPod::new();
    set_gro(&fixture, true);
    fixture.pod.ip("link set eth0 down");
    assert!(
        takes_redirects(&fixture),
        "so readiness also checks the link state"
    );
    assert!(matches!(
        prepare_pod(&fixture).readiness,
        Readiness::NotReady {
            reason: NotReady::LinkDown,
            ..
        }
    ));
}

#[test]
fn a_new_pod_is_prepared_once() {
    let fixture = HostAndPod::new();
    let first = prepare_pod(&fixture);
    assert_eq!((first.readiness, first.gro_was_off), (Readiness::Ready, true));
    assert!(gro(&fixture) && takes_redirects(&fixture));
    let second = prepare_pod(&fixture);
    assert_eq!((second.readiness, second.gro_was_off), (Readiness::Ready, false));
}

#[test]
fn gro_that_was_switched_on_too_early_is_switched_off_and_on() {
    let fixture = HostAndPod::with_pod_down();
    set_gro(&fixture, true);
    fixture.pod.ip("link set eth0 up");
    let prepared = prepare_pod(&fixture);
    assert_eq!(
        (prepared.readiness, prepared.gro_was_off),
        (Readiness::Ready, false)
    );
    assert!(gro(&fixture) && takes_redirects(&fixture));
}

#[test]
fn gro_of_an_interface_that_is_down_is_not_touched() {
    let fixture = HostAndPod::with_pod_down();
    let prepared = prepare_pod(&fixture);
    assert!(matches!(
        prepared.readiness,
        Readiness::NotReady {
            reason: NotReady::LinkDown,
            ..
        }
    ));
    assert!(!gro(&fixture) && prepared.netns.is_none());
}

#[test]
fn the_prepared_namespace_is_the_pods() {
    let fixture = HostAndPod::new();
    let netns = prepare_pod(&fixture).netns.unwrap();
    assert!(
        netns
            .run(|| nix::net::if_::if_nametoindex("eth0").is_ok())
            .unwrap()
    );
}

#[test]
fn an_interface_that_was_replaced_meanwhile_is_not_touched() {
    let fixture = HostAndPod::new();
    let mut pair = fixture.pair();
    pair.pod.ifindex += 1;
    let prepared = fixture.host.run(|| prepare(&pair, &mut Namespaces::default()));
    assert!(matches!(
        prepared.readiness,
        Readiness::NotReady {
            reason: NotReady::NetnsUnreachable,
            ..
        }
    ));
    assert!(!gro(&fixture));
}
