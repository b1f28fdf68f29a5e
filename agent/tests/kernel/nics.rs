//! The preflight checks on real interfaces.

use xdp_agent::{
    node::{netlink::host_links, nic::nic_facts},
    testing::HostAndPod,
};
use xdp_plan::nics::{NicFacts, XdpMode, preflight, reason};

use crate::xdp::{
    ForeignMode, {self},
};

fn nic(fixture: &HostAndPod, name: &str) -> NicFacts {
    let nics = fixture.host.run(|| nic_facts(&host_links().unwrap()).unwrap());
    nics.into_iter().find(|nic| nic.link.name == name).unwrap()
}

fn reasons(fixture: &HostAndPod, name: &str) -> Vec<String> {
    preflight(&nic(fixture, name), &[], 4096)
        .into_iter()
        .map(|problem| problem.reason)
        .collect()
}

#[test]
fn a_veth_has_native_xdp_and_no_problem() {
    let fixture = HostAndPod::new();
    assert_eq!(nic(&fixture, "host0").driver.name, "veth");
    assert!(reasons(&fixture, "host0").is_empty());
}

#[test]
fn a_bridge_a_macvlan_and_an_ifb_have_no_native_xdp() {
    let fixture = HostAndPod::new();
    fixture.host.ip("link add br0 type bridge");
    fixture.host.ip("link add ifb7 type ifb");
    fixture.host.ip("link add mv0 link host0 type macvlan");
    for name in ["br0", "mv0", "ifb7"] {
        assert_eq!(reasons(&fixture, name), [reason::NO_NATIVE_XDP], "{name}");
    }
}

#[test]
fn a_foreign_program_is_reported_with_its_mode_and_id() {
    for (mode, expected) in [
        (ForeignMode::Native, XdpMode::Native),
        (ForeignMode::Generic, XdpMode::Generic),
    ] {
        let fixture = HostAndPod::new();
        assert_eq!(nic(&fixture, "host0").link.xdp.mode, XdpMode::None);
        let id = fixture.host.run(|| xdp::attach("host0", mode));
        let seen = nic(&fixture, "host0").link.xdp;
        assert_eq!((seen.mode, seen.program_id), (expected, Some(id)));
        assert_eq!(reasons(&fixture, "host0"), [reason::FOREIGN_PROGRAM]);
        assert!(
            preflight(&nic(&fixture, "host0"), &[id], 4096).is_empty(),
            "the agent's own program is no problem"
        );
    }
}

#[test]
fn a_program_on_the_upper_bridge_is_reported() {
    let fixture = HostAndPod::new();
    fixture.host.ip("link add br0 type bridge");
    fixture.host.ip("link set host0 master br0");
    let id = fixture.host.run(|| xdp::attach("br0", ForeignMode::Generic));
    assert_eq!(
        nic(&fixture, "host0")
            .upper
            .map(|(name, state)| (name, state.program_id)),
        Some(("br0".to_owned(), Some(id)))
    );
    assert_eq!(reasons(&fixture, "host0"), [reason::UPPER_HAS_PROGRAM]);
}
