//! The order in which a veth becomes able to take redirected packets.

use xdp_agent::{
    node::{
        ethtool,
        netlink::genl,
        netns::{Namespaces, Netns},
        readiness::{read, switch_gro_on},
    },
    testing::HostAndPod,
};
use xdp_plan::{
    facts::NotReady,
    hook::Interface,
    installed::{Gro, PodInterface},
    nics::NDO_XMIT,
};

fn interface(fixture: &HostAndPod) -> Interface {
    let pair = fixture.pair();
    Interface {
        ifindex: pair.pod.ifindex,
        name: pair.pod.name,
        netns_id: Some(pair.netns_id),
    }
}

fn switch_on(fixture: &HostAndPod) -> Result<bool, NotReady> {
    let (host, pod) = (fixture.pair().host.ifindex, interface(fixture));
    let switched = fixture
        .host
        .run(|| switch_gro_on(host, &pod, &mut Namespaces::default()));
    switched.map_err(|(reason, _)| reason)
}

fn read_pod(fixture: &HostAndPod) -> (PodInterface, Option<Netns>) {
    let pair = fixture.pair();
    fixture.host.run(|| read(&pair, &mut Namespaces::default()))
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
    assert_eq!(read_pod(&fixture).0.gro, Ok(Gro::Off));
}

#[test]
fn gro_on_an_interface_that_is_up_makes_its_peer_accept_redirects() {
    let fixture = HostAndPod::new();
    set_gro(&fixture, true);
    assert!(takes_redirects(&fixture));
    assert_eq!(read_pod(&fixture).0.gro, Ok(Gro::On));
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
    assert_eq!(read_pod(&fixture).0.gro, Ok(Gro::Ineffective));
}

#[test]
fn an_interface_set_down_still_shows_ndo_xmit() {
    let fixture = HostAndPod::new();
    set_gro(&fixture, true);
    fixture.pod.ip("link set eth0 down");
    assert!(
        takes_redirects(&fixture),
        "hence readiness depends on the link state, too"
    );
}

#[test]
fn gro_of_a_new_pod_is_switched_on_once() {
    let fixture = HostAndPod::new();
    assert_eq!(switch_on(&fixture), Ok(true));
    assert!(gro(&fixture) && takes_redirects(&fixture));
    assert_eq!(switch_on(&fixture), Ok(false));
}

#[test]
fn gro_that_was_switched_on_too_early_is_switched_off_and_on() {
    let fixture = HostAndPod::with_pod_down();
    set_gro(&fixture, true);
    fixture.pod.ip("link set eth0 up");
    assert_eq!(switch_on(&fixture), Ok(false));
    assert!(gro(&fixture) && takes_redirects(&fixture));
}

#[test]
fn reading_switches_nothing_on_and_returns_the_pods_namespace() {
    let fixture = HostAndPod::new();
    let netns = read_pod(&fixture).1.unwrap();
    assert!(
        netns
            .run(|| nix::net::if_::if_nametoindex("eth0").is_ok())
            .unwrap()
    );
    assert!(!gro(&fixture));
}

#[test]
fn an_interface_that_was_replaced_meanwhile_is_not_touched() {
    let fixture = HostAndPod::new();
    let mut pair = fixture.pair();
    pair.pod.ifindex += 1;
    let (interface, netns) = fixture.host.run(|| read(&pair, &mut Namespaces::default()));
    assert!(interface.unreachable.is_some() && netns.is_none());
    let pod = Interface {
        ifindex: pair.pod.ifindex,
        ..self::interface(&fixture)
    };
    let switched = fixture
        .host
        .run(|| switch_gro_on(pair.host.ifindex, &pod, &mut Namespaces::default()));
    assert_eq!(
        switched.map_err(|(reason, _)| reason),
        Err(NotReady::NetnsUnreachable)
    );
    assert!(!gro(&fixture));
}
