//! What preflight sees on real interfaces.

use xdp_agent::node::{
    netlink::{XdpMode, host_links},
    nic::{NicFacts, nic_facts, preflight, reason},
};

use crate::{
    world::World,
    xdp::{
        Mode, {self},
    },
};

fn nic(world: &World, name: &str) -> NicFacts {
    let nics = world.host.run(|| nic_facts(&host_links().unwrap()).unwrap());
    nics.into_iter().find(|nic| nic.link.name == name).unwrap()
}

fn reasons(world: &World, name: &str) -> Vec<String> {
    preflight(&nic(world, name), &[], 4096)
        .into_iter()
        .map(|problem| problem.reason)
        .collect()
}

#[test]
fn a_veth_has_native_xdp_and_no_problem() {
    let world = World::new();
    assert_eq!(nic(&world, "host0").driver.name, "veth");
    assert!(reasons(&world, "host0").is_empty());
}

#[test]
fn a_bridge_a_macvlan_and_an_ifb_have_no_native_xdp() {
    let world = World::new();
    world.host.ip("link add br0 type bridge");
    world.host.ip("link add ifb7 type ifb");
    world.host.ip("link add mv0 link host0 type macvlan");
    for name in ["br0", "mv0", "ifb7"] {
        assert_eq!(reasons(&world, name), [reason::NO_NATIVE_XDP], "{name}");
    }
}

#[test]
fn a_foreign_program_is_seen_with_its_mode_and_id() {
    for (mode, expected) in [(Mode::Native, XdpMode::Native), (Mode::Generic, XdpMode::Generic)] {
        let world = World::new();
        assert_eq!(nic(&world, "host0").link.xdp.mode, XdpMode::None);
        let id = world.host.run(|| xdp::attach("host0", mode));
        let seen = nic(&world, "host0").link.xdp;
        assert_eq!((seen.mode, seen.program_id), (expected, Some(id)));
        assert_eq!(reasons(&world, "host0"), [reason::FOREIGN_PROGRAM]);
        assert!(
            preflight(&nic(&world, "host0"), &[id], 4096).is_empty(),
            "unless it is ours"
        );
    }
}

#[test]
fn a_program_on_the_bridge_above_is_seen() {
    let world = World::new();
    world.host.ip("link add br0 type bridge");
    world.host.ip("link set host0 master br0");
    let id = world.host.run(|| xdp::attach("br0", Mode::Generic));
    assert_eq!(
        nic(&world, "host0")
            .upper
            .map(|(name, state)| (name, state.program_id)),
        Some(("br0".to_owned(), Some(id)))
    );
    assert_eq!(reasons(&world, "host0"), [reason::UPPER_HAS_PROGRAM]);
}
