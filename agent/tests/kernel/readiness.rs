//! The order in which a veth becomes able to take redirected packets.

use xdp_agent::node::{
    ethtool,
    netlink::genl::{
        NDO_XMIT, {self},
    },
    netns::Namespaces,
    readiness::{Prepared, prepare},
};
use xdp_plan::facts::{NotReady, Readiness};

use crate::world::World;

fn prepare_pod(world: &World) -> Prepared {
    let pair = world.pair();
    world.host.run(|| prepare(&pair, &mut Namespaces::default()))
}

fn gro(world: &World) -> bool {
    world.pod.run(|| ethtool::gro("eth0").unwrap())
}

fn set_gro(world: &World, on: bool) {
    world.pod.run(|| ethtool::set_gro("eth0", on).unwrap());
}

fn takes_redirects(world: &World) -> bool {
    let ifindex = world.pair().host.ifindex;
    world.host.run(|| genl::xdp_features(ifindex).unwrap().unwrap()) & NDO_XMIT != 0
}

#[test]
fn a_fresh_veth_has_gro_off_and_takes_no_redirects() {
    let world = World::new();
    assert!(!gro(&world) && !takes_redirects(&world));
}

#[test]
fn gro_on_an_interface_that_is_up_makes_its_peer_take_redirects_at_once() {
    let world = World::new();
    set_gro(&world, true);
    assert!(takes_redirects(&world));
    set_gro(&world, false);
    assert!(!takes_redirects(&world));
}

#[test]
fn gro_on_an_interface_that_is_down_is_not_enough_even_once_it_is_up() {
    let world = World::with_pod_down();
    set_gro(&world, true);
    assert!(!takes_redirects(&world));
    world.pod.ip("link set eth0 up");
    assert!(!takes_redirects(&world));
}

#[test]
fn an_interface_set_down_still_shows_that_it_takes_redirects() {
    let world = World::new();
    set_gro(&world, true);
    world.pod.ip("link set eth0 down");
    assert!(
        takes_redirects(&world),
        "hence readiness looks at the link state, too"
    );
    assert!(matches!(
        prepare_pod(&world).readiness,
        Readiness::NotReady {
            reason: NotReady::LinkDown,
            ..
        }
    ));
}

#[test]
fn a_fresh_pod_is_prepared_and_the_second_time_nothing_is_left_to_do() {
    let world = World::new();
    let first = prepare_pod(&world);
    assert_eq!((first.readiness, first.gro_was_off), (Readiness::Ready, true));
    assert!(gro(&world) && takes_redirects(&world));
    let second = prepare_pod(&world);
    assert_eq!((second.readiness, second.gro_was_off), (Readiness::Ready, false));
}

#[test]
fn a_pod_whose_gro_came_too_early_is_repaired_by_switching_it_off_and_on() {
    let world = World::with_pod_down();
    set_gro(&world, true);
    world.pod.ip("link set eth0 up");
    let prepared = prepare_pod(&world);
    assert_eq!(
        (prepared.readiness, prepared.gro_was_off),
        (Readiness::Ready, false)
    );
    assert!(gro(&world) && takes_redirects(&world));
}

#[test]
fn gro_of_an_interface_that_is_down_is_not_touched() {
    let world = World::with_pod_down();
    let prepared = prepare_pod(&world);
    assert!(matches!(
        prepared.readiness,
        Readiness::NotReady {
            reason: NotReady::LinkDown,
            ..
        }
    ));
    assert!(!gro(&world) && prepared.netns.is_none());
}

#[test]
fn the_prepared_namespace_is_the_pods() {
    let world = World::new();
    let netns = prepare_pod(&world).netns.unwrap();
    assert!(
        netns
            .run(|| nix::net::if_::if_nametoindex("eth0").is_ok())
            .unwrap()
    );
}

#[test]
fn an_interface_that_was_replaced_since_the_facts_is_left_alone() {
    let world = World::new();
    let mut pair = world.pair();
    pair.pod.ifindex += 1;
    let prepared = world.host.run(|| prepare(&pair, &mut Namespaces::default()));
    assert!(matches!(
        prepared.readiness,
        Readiness::NotReady {
            reason: NotReady::NetnsUnreachable,
            ..
        }
    ));
    assert!(!gro(&world));
}
