//! When a host veth can be the target of a redirect: the `NDO_XMIT` bit of its `xdp-features` (Linux 6.3) against what
//! really arrives.

use crate::world::{World, redirect};

#[test]
fn gro_switched_on_while_eth0_is_up_makes_the_host_veth_a_target() {
    let mut world = prepared();
    assert!(!is_target(&world), "a new veth is none");
    world.pod.command("ethtool -K p0 gro on");
    assert!(is_target(&world));
    assert_delivered(&mut world);
    world.pod.command("ethtool -K p0 gro off");
    assert!(!is_target(&world));
}

#[test]
fn gro_switched_on_while_eth0_is_down_has_no_effect_until_it_is_switched_again() {
    let mut world = prepared();
    world.pod.command("ip link set p0 down");
    world.pod.command("ethtool -K p0 gro on");
    assert!(!is_target(&world));
    world.pod.command("ip link set p0 up");
    assert!(!is_target(&world), "eth0 coming up does not help");

    world.pod.command("ethtool -K p0 gro off");
    world.pod.command("ethtool -K p0 gro on");
    assert!(is_target(&world));
    assert_delivered(&mut world);
}

#[test]
fn the_host_veth_going_down_and_up_makes_it_a_target_too() {
    let mut world = prepared();
    world.pod.command("ip link set p0 down");
    world.pod.command("ethtool -K p0 gro on");
    world.pod.command("ip link set p0 up");
    world.node.command("ip link set h0 down");
    world.node.command("ip link set h0 up");
    assert!(is_target(&world));
    assert_delivered(&mut world);
}

#[test]
fn eth0_going_down_keeps_the_host_veth_a_target_in_name() {
    let world = prepared();
    world.pod.command("ethtool -K p0 gro on");
    world.pod.command("ip link set p0 down");
    assert!(is_target(&world));
}

/// GRO is off, the program and the reader are attached, the pod is in the devmap.
fn prepared() -> World {
    let mut world = World::without_gro();
    world.add_pod_to_devmap();
    world.attach_xdp();
    world.attach_reader_in_pod();
    world.programs.plan(redirect());
    world
}

fn assert_delivered(world: &mut World) {
    world.send(1);
    world.programs.record();
}

/// `NDO_XMIT` of the host veth, as the netdev family tells it.
fn is_target(world: &World) -> bool {
    let features = world.node.run(|| crate::genl::xdp_features(world.host));
    features & crate::genl::NDO_XMIT != 0
}
