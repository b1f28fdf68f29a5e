//! When a host-side veth can be the target of a redirect: the `NDO_XMIT` bit of its `xdp-features` (Linux
//! 6.3), compared with real delivery.

use xdp_lab::{XDP_FEATURE_NDO_XMIT, xdp_features};

use crate::fixture::{Fixture, redirect};

#[test]
fn gro_switched_on_while_eth0_is_up_makes_the_host_veth_a_target() {
    let mut fixture = prepared();
    assert!(!is_target(&fixture), "a new veth is not a target");
    fixture.pod.command("ethtool -K p0 gro on");
    assert!(is_target(&fixture));
    assert_delivered(&mut fixture);
    fixture.pod.command("ethtool -K p0 gro off");
    assert!(!is_target(&fixture));
}

#[test]
fn gro_switched_on_while_eth0_is_down_has_no_effect_until_it_is_switched_on_again() {
    let mut fixture = prepared();
    fixture.pod.command("ip link set p0 down");
    fixture.pod.command("ethtool -K p0 gro on");
    assert!(!is_target(&fixture));
    fixture.pod.command("ip link set p0 up");
    assert!(!is_target(&fixture), "eth0 coming up does not help");

    fixture.pod.command("ethtool -K p0 gro off");
    fixture.pod.command("ethtool -K p0 gro on");
    assert!(is_target(&fixture));
    assert_delivered(&mut fixture);
}

#[test]
fn the_host_veth_going_down_and_up_makes_it_a_target_too() {
    let mut fixture = prepared();
    fixture.pod.command("ip link set p0 down");
    fixture.pod.command("ethtool -K p0 gro on");
    fixture.pod.command("ip link set p0 up");
    fixture.node.command("ip link set h0 down");
    fixture.node.command("ip link set h0 up");
    assert!(is_target(&fixture));
    assert_delivered(&mut fixture);
}

#[test]
fn eth0_going_down_keeps_the_host_veth_a_target_in_name() {
    let fixture = prepared();
    fixture.pod.command("ethtool -K p0 gro on");
    fixture.pod.command("ip link set p0 down");
    assert!(is_target(&fixture));
}

/// GRO is off, the program and the reader are attached, the pod is in the devmap.
fn prepared() -> Fixture {
    let mut fixture = Fixture::without_gro();
    fixture.add_pod_to_devmap();
    fixture.attach_xdp();
    fixture.attach_reader_in_pod();
    fixture.programs.plan(redirect());
    fixture
}

fn assert_delivered(fixture: &mut Fixture) {
    fixture.send(1);
    fixture.programs.record();
}

/// Returns the `NDO_XMIT` bit of the host-side veth, read by the netdev netlink family.
fn is_target(fixture: &Fixture) -> bool {
    let features = fixture.node.run(|| xdp_features(fixture.host)).unwrap();
    features & XDP_FEATURE_NDO_XMIT != 0
}
