use super::{super::BridgeVlan, *};

const NIC: u8 = 2;

/// An interface with this index and this last byte of its MAC address, which is up.
fn link(ifindex: u32, kind: &str, last: u8) -> NicFacts {
    NicFacts {
        link: HostLink {
            ifindex,
            kind: kind.to_owned(),
            up: true,
            mac: [2, 0, 0, 0, 0, last],
            ..HostLink::default()
        },
        ..NicFacts::default()
    }
}

fn on(lower: u32, facts: NicFacts) -> NicFacts {
    let link = HostLink {
        link: Some(lower),
        ..facts.link
    };
    NicFacts { link, ..facts }
}

fn vlan(lower: u32, ifindex: u32, last: u8, protocol: u16, id: u16) -> NicFacts {
    let facts = on(lower, link(ifindex, "vlan", last));
    let link = HostLink {
        vlan: Some(TagId::new(protocol, id)),
        ..facts.link
    };
    NicFacts { link, ..facts }
}

fn port(master: u32, facts: NicFacts) -> NicFacts {
    let link = HostLink {
        master: Some(master),
        ..facts.link
    };
    NicFacts { link, ..facts }
}

fn changed(facts: NicFacts, change: impl FnOnce(&mut NicFacts)) -> NicFacts {
    let mut facts = facts;
    change(&mut facts);
    facts
}

const Q: u16 = 0x8100;
const AD: u16 = 0x88a8;

fn found(facts: &[NicFacts]) -> Stations {
    stations(&BTreeSet::from([u32::from(NIC)]), facts)
}

/// Returns the device and the flags that receive a frame, except [`Receiver::ROUTED`].
fn receives(facts: &[NicFacts], last: u8, tags: &[(u16, u16)]) -> Option<(u32, u32)> {
    let mut ids = <[TagId; 2]>::default();
    for (place, (protocol, id)) in ids.iter_mut().zip(tags) {
        *place = TagId::new(*protocol, *id);
    }
    let station = Station {
        mac: 0x0200_0000_0000 | u64::from(last),
        nic: u32::from(NIC),
        tags: ids,
    };
    let receiver = found(facts).stations.get(&station).copied()?;
    Some((receiver.device, receiver.flags & !Receiver::ROUTED))
}

#[test]
fn a_nic_alone_receives_untagged_frames_for_its_own_address() {
    let facts = [link(2, "", NIC), link(3, "", 3)];
    assert_eq!(receives(&facts, NIC, &[]), Some((2, 0)));
    assert_eq!(receives(&facts, 3, &[]), None, "another station");
    assert_eq!(receives(&facts, NIC, &[(Q, 7)]), None, "no VLAN");
    let nic = found(&facts).nics[&2];
    assert_eq!((nic.ifindex, nic.mac), (2, 0x0200_0000_0002));
    assert_eq!(nic.receiver.flags, Receiver::ROUTED);
}

#[test]
fn a_vlan_receives_tagged_frames_for_its_address_and_for_that_of_the_nic() {
    let facts = [link(2, "", NIC), vlan(2, 5, 9, Q, 7)];
    for last in [NIC, 9] {
        assert_eq!(receives(&facts, last, &[(Q, 7)]), Some((5, 0)));
        assert_eq!(receives(&facts, last, &[(AD, 7)]), None, "another protocol");
        assert_eq!(receives(&facts, last, &[(Q, 8)]), None, "another VLAN");
        assert_eq!(receives(&facts, last, &[(Q, 7), (Q, 7)]), None);
    }
    assert_eq!(
        receives(&facts, 9, &[]),
        None,
        "the address of the VLAN without its tag"
    );
}

#[test]
fn a_vlan_that_is_down_or_in_another_namespace_receives_nothing() {
    let down = changed(vlan(2, 5, NIC, Q, 7), |facts| facts.link.up = false);
    let moved = changed(vlan(2, 5, NIC, Q, 7), |facts| facts.link.link_netns = Some(4));
    for facts in [down, moved] {
        assert_eq!(receives(&[link(2, "", NIC), facts], NIC, &[(Q, 7)]), None);
    }
}

#[test]
fn a_vlan_in_a_vlan_receives_frames_with_both_tags() {
    let facts = [link(2, "", NIC), vlan(2, 5, NIC, AD, 30), vlan(5, 6, 8, Q, 40)];
    for last in [NIC, 8] {
        assert_eq!(receives(&facts, last, &[(AD, 30), (Q, 40)]), Some((6, 0)));
        assert_eq!(receives(&facts, last, &[(Q, 40), (AD, 30)]), None);
    }
    let three = [&facts[..], &[vlan(6, 7, NIC, Q, 50)]].concat();
    assert_eq!(
        found(&three).stations.len(),
        found(&facts).stations.len(),
        "three tags"
    );
}

#[test]
fn a_bond_receives_what_is_for_its_port_and_its_vlans_for_their_own_address() {
    let facts = [
        port(4, link(2, "", NIC)),
        port(4, link(3, "", NIC)),
        link(4, "bond", 4),
        vlan(4, 5, 5, Q, 7),
    ];
    assert_eq!(receives(&facts, NIC, &[]), Some((4, 0)));
    assert_eq!(
        receives(&facts, 4, &[]),
        None,
        "the bond leaves it to another station"
    );
    for last in [NIC, 5] {
        assert_eq!(receives(&facts, last, &[(Q, 7)]), Some((5, 0)));
    }
}

#[test]
fn a_bridge_receives_what_is_for_it_and_for_its_port_but_not_for_other_ports() {
    let facts = [
        port(4, link(2, "", NIC)),
        port(4, link(3, "", 3)),
        link(4, "bridge", 4),
        vlan(4, 5, NIC, Q, 7),
    ];
    for last in [NIC, 4] {
        assert_eq!(receives(&facts, last, &[]), Some((4, 0)));
        assert_eq!(receives(&facts, last, &[(Q, 7)]), Some((5, 0)));
    }
    assert_eq!(receives(&facts, 3, &[]), None);
}

#[test]
fn a_bridge_on_a_vlan_of_the_nic_receives_its_frames() {
    let facts = [
        link(2, "", NIC),
        port(6, vlan(2, 5, NIC, Q, 7)),
        link(6, "bridge", 6),
    ];
    for last in [NIC, 6] {
        assert_eq!(receives(&facts, last, &[(Q, 7)]), Some((6, 0)));
    }
    assert_eq!(receives(&facts, NIC, &[]), Some((2, 0)));
    assert_eq!(receives(&facts, 6, &[]), None);
}

#[test]
fn where_a_port_may_not_take_frames_it_is_uncertain() {
    let backup = |facts: NicFacts| changed(facts, |facts| facts.link.inactive_port = true);
    let filters = |facts: NicFacts| changed(facts, |facts| facts.link.filters_vlans = true);
    let cases = [
        [backup(port(4, link(2, "", NIC))), link(4, "bond", NIC)],
        [backup(port(4, link(2, "", NIC))), link(4, "bridge", NIC)],
        [port(4, link(2, "", NIC)), filters(link(4, "bridge", NIC))],
        [port(4, link(2, "", NIC)), link(4, "team", NIC)],
        // Open vSwitch leaves its interface down.
        [
            port(4, link(2, "", NIC)),
            changed(link(4, "openvswitch", NIC), |facts| facts.link.up = false),
        ],
    ];
    for facts in cases {
        assert_eq!(receives(&facts, NIC, &[]), Some((4, Receiver::UNCERTAIN)));
    }
    let vrf = [port(4, link(2, "", NIC)), link(4, "vrf", 4)];
    assert_eq!(
        receives(&vrf, NIC, &[]),
        Some((2, 0)),
        "a VRF concerns routes only"
    );
}

#[test]
fn a_bridge_that_filters_vlans_receives_what_its_vlans_let_pass() {
    let let_pass = |id, pvid, untagged| BridgeVlan { id, pvid, untagged };
    let facts = |of_port: &[BridgeVlan], own: &[BridgeVlan]| {
        [
            changed(port(4, link(2, "", NIC)), |facts| {
                facts.link.bridge_vlans = of_port.to_vec();
            }),
            changed(link(4, "bridge", NIC), |facts| {
                facts.link.filters_vlans = true;
                facts.link.bridge_vlans = own.to_vec();
            }),
            vlan(4, 5, NIC, Q, 7),
        ]
    };
    let default = [let_pass(1, true, true)];
    assert_eq!(receives(&facts(&default, &default), NIC, &[]), Some((4, 0)));
    let uncertain = Some((4, Receiver::UNCERTAIN));
    for (of_port, own) in [
        (&[][..], &default[..]),
        (&default[..], &[]),
        (&[let_pass(1, false, true)], &default),
        (&default, &[let_pass(2, true, true)]),
        (&default, &[let_pass(1, true, false)]),
    ] {
        assert_eq!(
            receives(&facts(of_port, own), NIC, &[]),
            uncertain,
            "{of_port:?} {own:?}"
        );
    }
    let tagged = receives(&facts(&default, &default), NIC, &[(Q, 7)]);
    assert_eq!(tagged, Some((5, Receiver::UNCERTAIN)));
}

#[test]
fn a_macvlan_receives_frames_for_its_own_address_only() {
    let facts = [
        link(2, "", NIC),
        on(2, link(5, "macvlan", 9)),
        vlan(5, 6, 9, Q, 7),
    ];
    assert_eq!(receives(&facts, NIC, &[]), Some((2, 0)));
    assert_eq!(receives(&facts, 9, &[]), Some((5, 0)));
    assert_eq!(receives(&facts, 9, &[(Q, 7)]), Some((6, 0)));
    assert_eq!(receives(&facts, NIC, &[(Q, 7)]), None);
    let by_source = changed(on(2, link(5, "macvlan", 9)), |facts| facts.link.by_source = true);
    assert_eq!(receives(&[link(2, "", NIC), by_source], 9, &[]), None);
    let tap = [link(2, "", NIC), on(2, link(5, "macvtap", 9))];
    assert_eq!(receives(&tap, 9, &[]), None, "a virtual machine");
}

#[test]
fn what_a_virtual_machine_takes_over_is_not_the_nodes() {
    let passthru = changed(on(2, link(5, "macvtap", NIC)), |facts| facts.link.passthru = true);
    assert_eq!(found(&[link(2, "", NIC), passthru]), Stations::default());
}

#[test]
fn multicast_is_received_where_the_nics_own_frames_are() {
    let facts = [
        link(2, "", NIC),
        vlan(2, 5, 9, Q, 7),
        on(2, link(6, "macvlan", 8)),
    ];
    let stations = found(&facts).stations;
    let group = |tags| Station {
        mac: Station::GROUP,
        nic: 2,
        tags,
    };
    assert_eq!(stations[&group(<[TagId; 2]>::default())].device, 2);
    assert_eq!(stations[&group([TagId::new(Q, 7), TagId(0)])].device, 5);
}

#[test]
fn rp_filter_is_that_of_the_interface_that_receives() {
    let filter = |facts, value| changed(facts, |facts| facts.rp_filter = value);
    let facts = [filter(link(2, "", NIC), 1), filter(vlan(2, 5, NIC, Q, 7), 2)];
    assert_eq!(receives(&facts, NIC, &[]), Some((2, Receiver::STRICT)));
    assert_eq!(receives(&facts, NIC, &[(Q, 7)]), Some((5, 0)));
}

#[test]
fn what_receives_leads_out_and_nothing_else_does() {
    let facts = [
        port(4, link(2, "", NIC)),
        link(3, "", 3),
        link(4, "bond", NIC),
        vlan(4, 5, NIC, Q, 7),
    ];
    let found = found(&facts).stations;
    let leads_out = |ifindex| found.contains_key(&Station::outlet(ifindex));
    assert_eq!([2, 3, 4, 5].map(leads_out), [false, false, true, true]);
}

#[test]
fn nics_with_one_position_share_it_and_have_all_their_stations() {
    let facts = [link(2, "", NIC), link(2 + xdp_core::tables::MAX_NICS, "", 3)];
    let nics = facts.iter().map(|nic| nic.link.ifindex).collect();
    let found = stations(&nics, &facts);
    assert_eq!(found.nics.len(), 1);
    for nic in &facts {
        let own = Station {
            mac: mac(&nic.link),
            nic: nic.link.ifindex,
            tags: <[TagId; 2]>::default(),
        };
        assert_eq!(found.stations[&own].device, nic.link.ifindex);
    }
}

#[test]
fn a_list_that_changed_while_it_was_read_has_an_end() {
    let facts = [
        vlan(5, 2, NIC, Q, 7),
        vlan(2, 5, NIC, Q, 7),
        port(2, link(4, "", 4)),
    ];
    assert!(!found(&facts).stations.is_empty());
    let circle = [port(4, link(2, "bond", NIC)), port(2, link(4, "bond", NIC))];
    assert_eq!(found(&circle), Stations::default());
}
