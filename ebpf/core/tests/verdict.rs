//! Verdicts, against a plain reading of the documentation of the tables.
use rstest::rstest;
use xdp_core::{
    events::{Event, Fallback, FlowEvent, ForeignFrame, Unparsed, UnparsedDrop},
    flows::DrainScope,
    key::Scratch,
    metadata::Metadata,
    tables::{
        Action, ActionRecord, Address, Class, EVENTS, IndexWord, PodBlock, PortRef, PortTarget, Receiver,
        RuleCounters, SlotWord, SourceRef, Station, index_position,
    },
    testing::{NIC, POD, POD_V6, PacketShape, PodModel, SLOT},
    verdict::{Field, Kind, Redirect, Verdict, decide, examine},
};

const SOURCE: u128 = 0xc633_6407;
const SOURCE_V6: u128 = 0x2001_0db8_0000_0000_0000_0000_0000_0007;
const NONE: fn() -> PodModel = || PodModel::new(POD, POD_V6);

fn all(action: Action) -> ActionRecord {
    ActionRecord {
        rule: 7,
        action: action as u8,
        ..ActionRecord::default()
    }
}

fn udp() -> PacketShape {
    PacketShape::udp(SOURCE, false)
}

fn verdict(record: ActionRecord, shape: &PacketShape) -> Verdict {
    decide(shape.frame().as_slice(), &NONE().with_rule(record))
}

const DROP: Verdict = Verdict::Drop { rule: 7 };

#[rstest]
#[case(0, Verdict::Redirect)]
#[case(ActionRecord::PEER, Verdict::Peer)]
fn a_redirect_carries_slot_mac_and_metadata(#[case] flag: u8, #[case] kind: fn(Redirect) -> Verdict) {
    let record = ActionRecord {
        mark: 42,
        flags: ActionRecord::MARK | flag,
        ..all(Action::Redirect)
    };
    let expected = Redirect {
        slot: SLOT,
        mac: [2, 0, 0, 0, 0, 9],
        tags: 0,
        metadata: Metadata::new(7, Some(42)),
    };
    assert_eq!(verdict(record, &udp()), kind(expected));
}

#[test]
fn a_frame_to_no_address_is_another_stations_although_the_nic_is_an_outlet() {
    let mut model = NONE().with_rule(all(Action::Redirect));
    model.stations.insert(Station::outlet(NIC.ifindex), NIC.receiver);
    let mut frame = udp().frame();
    frame[..6].fill(0);
    let other = Verdict::Foreign(ForeignFrame::OtherStation);
    assert_eq!(decide(frame.as_slice(), &model), other);
}

#[test]
fn what_routers_read_falls_back_and_is_dropped_all_the_same() {
    let v4 = PacketShape { extra: 1, ..udp() }.frame();
    let mut v6 = PacketShape {
        extra: 1,
        ..PacketShape::udp(SOURCE_V6, true)
    }
    .frame();
    // The destination options become hop-by-hop options.
    v6[14 + 6] = 0;
    for frame in [v4, v6] {
        let decide = |action| decide(frame.as_slice(), &NONE().with_rule(all(action)));
        let reason = Fallback::IpOptions;
        assert_eq!(decide(Action::Redirect), Verdict::FallBack { rule: 7, reason });
        assert_eq!(decide(Action::Drop), DROP);
    }
}

#[rstest]
#[case([1, 0, 0, 0, 0, 2])]
#[case([0; 6])]
fn a_frame_from_no_station_falls_back(#[case] source: [u8; 6]) {
    let mut frame = udp().frame();
    frame[6..12].copy_from_slice(&source);
    let reason = Fallback::NotUnicast;
    let verdict = decide(frame.as_slice(), &NONE().with_rule(all(Action::Redirect)));
    assert_eq!(verdict, Verdict::FallBack { rule: 7, reason });
}

#[test]
fn whatever_is_missing_passes() {
    let whole = NONE().with_rule(all(Action::Drop));
    let frame = udp().frame();
    assert_eq!(decide(frame.as_slice(), &whole), DROP);
    let without = |change: fn(&mut PodModel)| {
        let mut model = whole.clone();
        change(&mut model);
        decide(frame.as_slice(), &model)
    };
    let missing: [fn(&mut PodModel); 10] = [
        |model| model.alive = false,
        |model| model.word = SlotWord::EMPTY,
        |model| model.word = SlotWord::new(1, 4),
        |model| model.index.clear(),
        |model| model.classes.clear(),
        |model| model.actions.clear(),
        |model| model.pod.sources_v4 = SourceRef::block(0),
        |model| model.classes[0].udp = PortRef::new(PortTarget::Leaf(0)),
        |model| model.classes[0].udp = PortRef::new(PortTarget::Top(0)),
        |model| model.classes[0].udp = PortRef::new(PortTarget::Root(0)),
    ];
    for change in missing {
        assert_eq!(without(change), Verdict::NotConsidered);
    }
    assert_eq!(decide(frame.as_slice(), &NONE()), Verdict::NoMatch);
    let mut elsewhere = frame.clone();
    elsewhere[33] = 3;
    assert_eq!(decide(elsewhere.as_slice(), &whole), Verdict::NotConsidered);
}

#[test]
fn without_its_device_a_pods_rules_only_pass() {
    let without = |record| {
        let mut model = NONE().with_rule(record);
        model.alive = false;
        let limited = examine(udp().frame().as_slice(), &model, &mut Scratch::uninit())
            .limit()
            .is_some();
        assert!(!limited, "{record:?}");
        decide(udp().frame().as_slice(), &model)
    };
    for action in [Action::Drop, Action::Reject] {
        assert_eq!(without(all(action)), Verdict::NotConsidered);
    }
    for flags in [ActionRecord::LIMIT_RULE, ActionRecord::LIMIT_SOURCE] {
        for action in [Action::Pass, Action::Redirect] {
            let record = ActionRecord { flags, ..all(action) };
            assert_eq!(without(record), Verdict::NotConsidered);
        }
    }
    let lost = Verdict::FallBack {
        rule: 7,
        reason: Fallback::NoDevice,
    };
    for flags in [0, ActionRecord::PEER] {
        let record = ActionRecord {
            flags,
            ..all(Action::Redirect)
        };
        assert_eq!(without(record), lost);
    }
    assert_eq!(without(all(Action::Pass)), Verdict::Pass { rule: 7 });
    let audit = ActionRecord {
        flags: ActionRecord::AUDIT | ActionRecord::LIMIT_RULE,
        ..all(Action::Drop)
    };
    assert_eq!(without(audit), Verdict::Audit { rule: 7 });
}

#[test]
fn an_address_whose_place_is_taken_is_in_the_hash() {
    let pod = u32::from_be_bytes(POD);
    let other = (1..u32::MAX)
        .map(|n| pod.wrapping_add(n))
        .find(|v4| index_position(*v4) == index_position(pod));
    let place = |more| IndexWord::new(other.unwrap(), 9, more);
    let mut model = NONE().with_rule(all(Action::Drop));
    let frame = udp().frame();
    model.hash.insert(Address::v4(POD), SLOT);
    model.index.insert(index_position(pod), place(true));
    assert_eq!(decide(frame.as_slice(), &model), DROP);
    // Without the flag, the hash is not looked up.
    model.index.insert(index_position(pod), place(false));
    assert_eq!(decide(frame.as_slice(), &model), Verdict::NotConsidered);
    model
        .index
        .insert(index_position(pod), IndexWord(IndexWord::MORE));
    assert_eq!(decide(frame.as_slice(), &model), DROP);
}

#[test]
fn ipv6_destinations_are_in_the_hash_only() {
    let mut model = NONE().with_rule(all(Action::Drop));
    model.index.clear();
    let frame = PacketShape::udp(SOURCE_V6, true).frame();
    assert_eq!(decide(frame.as_slice(), &model), DROP);
}

#[test]
fn a_tree_that_is_too_deep_or_runs_in_circles_passes() {
    let mut model = NONE().with_rule(all(Action::Drop));
    let leaf = model.add_sources_v4(&[(0, 0), (1, 0)], 2);
    let mut block = model.sources_v4[0];
    for index in 1..=3 {
        block.targets.fill(SourceRef::block(index - 1));
        model.sources_v4.push(block);
    }
    let frame = udp().frame();
    for (root, expected) in [
        (leaf, DROP),
        (SourceRef::block(2), DROP),
        (SourceRef::block(3), Verdict::NotConsidered),
    ] {
        model.pod.sources_v4 = root;
        assert_eq!(decide(frame.as_slice(), &model), expected);
    }
    model.sources_v4[0].targets.fill(SourceRef::block(0));
    assert_eq!(decide(frame.as_slice(), &model), Verdict::NotConsidered);
}

#[test]
fn neighbour_discovery_and_dhcp_are_never_considered() {
    let drop_all = |v6, protocol, l4| {
        let source = if v6 { SOURCE_V6 } else { SOURCE };
        let shape = PacketShape {
            protocol,
            l4,
            ..PacketShape::udp(source, v6)
        };
        verdict(all(Action::Drop), &shape)
    };
    for kind in 133..=137 {
        assert_eq!(drop_all(true, 58, (kind << 8, 0)), Verdict::NotConsidered);
        assert_eq!(drop_all(false, 1, (kind << 8, 0)), DROP);
    }
    for (v6, l4) in [(false, (67, 68)), (false, (68, 67)), (true, (546, 547))] {
        assert_eq!(drop_all(v6, 17, l4), Verdict::NotConsidered);
        assert_eq!(drop_all(!v6, 17, l4), DROP);
        assert_eq!(drop_all(v6, 6, l4), DROP);
        assert_eq!(drop_all(v6, 17, (l4.0, 69)), DROP);
    }
    assert_eq!(drop_all(true, 58, (128 << 8, 0)), DROP);
}

#[test]
fn what_stands_against_a_redirect_is_named_in_order() {
    let fall_back = |reason| Verdict::FallBack { rule: 7, reason };
    let mut shape = PacketShape {
        group_mac: true,
        first_fragment: true,
        long: true,
        ..udp()
    };
    for (flag, obstacle, reason) in [
        (0, PodBlock::NOT_READY, Fallback::NotReady),
        (ActionRecord::PEER, PodBlock::NO_PEER, Fallback::NoPeer),
    ] {
        let record = ActionRecord {
            flags: flag,
            ..all(Action::Redirect)
        };
        let mut model = NONE().with_rule(record);
        model.pod.flags = PodBlock::REPLY_PATH | obstacle;
        assert_eq!(decide(shape.frame().as_slice(), &model), fall_back(reason));
        model.pod.flags |= PodBlock::ADDRESS_IN_DOUBT;
        assert_eq!(
            decide(shape.frame().as_slice(), &model),
            fall_back(Fallback::AddressInDoubt)
        );
        model.pod.flags |= PodBlock::WITHOUT_PERMISSION;
        assert_eq!(
            decide(shape.frame().as_slice(), &model),
            fall_back(Fallback::NotPermitted)
        );
        // The other delivery's obstacle is none.
        model.pod.flags = PodBlock::REPLY_PATH | (3 - obstacle);
        assert_eq!(
            decide(shape.frame().as_slice(), &model),
            fall_back(Fallback::NotUnicast)
        );
    }
    let redirect = all(Action::Redirect);
    let not_certain = ActionRecord {
        flags: ActionRecord::NOT_CERTAIN,
        ..redirect
    };
    assert_eq!(verdict(not_certain, &shape), fall_back(Fallback::NetworkPolicy));
    shape.group_mac = false;
    assert_eq!(verdict(redirect, &shape), fall_back(Fallback::Fragment));
    shape.first_fragment = false;
    assert_eq!(verdict(redirect, &shape), fall_back(Fallback::TooLong));
    let mut model = NONE().with_rule(redirect);
    model.pod.mtu = shape.ip_len() as u32;
    assert!(matches!(
        decide(shape.frame().as_slice(), &model),
        Verdict::Redirect(_)
    ));
}

#[test]
fn audit_comes_before_everything_else() {
    for action in [Action::Pass, Action::Drop, Action::Redirect, Action::Reject] {
        let record = ActionRecord {
            flags: ActionRecord::AUDIT | ActionRecord::LIMIT_RULE,
            ..all(action)
        };
        let shape = PacketShape {
            group_mac: true,
            ..udp()
        };
        assert_eq!(verdict(record, &shape), Verdict::Audit { rule: 7 });
        let model = NONE().with_rule(record);
        assert!(
            examine(shape.frame().as_slice(), &model, &mut Scratch::uninit())
                .limit()
                .is_none()
        );
    }
}

#[test]
fn an_unknown_action_passes() {
    for action in [0, 1, 5, 255] {
        let record = ActionRecord {
            action,
            ..all(Action::Drop)
        };
        assert_eq!(verdict(record, &udp()), Verdict::Pass { rule: 7 });
    }
}

#[test]
fn each_packet_is_counted_in_one_field() {
    let fall_back = Verdict::FallBack {
        rule: 7,
        reason: Fallback::TooLong,
    };
    assert_eq!(fall_back.counted(), Some((7, Field::FellBack)));
    assert_eq!(fall_back.event(), Some(Fallback::TooLong.code()));
    assert_eq!(Verdict::NoMatch.counted(), None);
    assert_eq!(Verdict::Limited { rule: 7 }.counted(), Some((7, Field::Limited)));
    let silent = Verdict::RejectedSilently {
        rule: 7,
        reason: Event::RejectSilent,
    };
    assert_eq!(
        (silent.counted(), silent.event()),
        (Some((7, Field::Rejected)), Some(Event::RejectSilent.code()))
    );
    let mut counters = RuleCounters::default();
    Field::Dropped.of(&mut counters).packets = 1;
    assert_eq!(counters.dropped.packets, 1);
}

#[test]
fn codes_are_distinct_and_names_are_those_of_the_variants() {
    let unparsed = Unparsed::ALL.map(|it| (it.code(), it.name(), format!("{it:?}")));
    let fallbacks = Fallback::ALL.map(|it| (it.code(), it.name(), format!("{it:?}")));
    let events = Event::ALL.map(|it| (it.code(), it.name(), format!("{it:?}")));
    let foreign = ForeignFrame::ALL.map(|it| (it.code(), it.name(), format!("{it:?}")));
    let flows = FlowEvent::ALL.map(|it| (it.code(), it.name(), format!("{it:?}")));
    let dropped = UnparsedDrop::ALL.map(|it| (it.code(), it.name(), format!("{it:?}")));
    let all = unparsed.into_iter().chain(fallbacks).chain(events);
    let mut all: Vec<_> = all.chain(foreign).chain(flows).chain(dropped).collect();
    all.sort_unstable();
    for pair in all.windows(2) {
        assert!(pair[0].0 < pair[1].0, "{pair:?}");
    }
    for (code, name, variant) in all {
        assert!(code < EVENTS);
        assert_eq!(name, variant);
    }
    for kind in Kind::ALL {
        assert_eq!(Kind::from_code(kind as u32), Some(kind));
    }
}

#[test]
fn no_truncated_packet_is_dropped_that_was_not_before() {
    let model = NONE().with_rule(all(Action::Drop));
    for shape in [udp(), PacketShape::udp(SOURCE_V6, true)] {
        let frame = shape.frame();
        for len in 0..frame.len() {
            assert!(
                matches!(decide(&frame[..len], &model), Verdict::Unparsed(_)),
                "{len}"
            );
        }
    }
}

/// A rule for the UDP ports from 9999 on; all other packets match no rule.
fn high_ports(record: ActionRecord) -> PodModel {
    let mut model = NONE();
    model.actions.insert(1, record);
    model.classes[0].udp = model.add_ports(&[(0, 0), (9999, 1)], 2);
    model.classes[0].drops = if record.drops() { Class::UDP } else { 0 };
    model
}

/// UDP to port 9999 behind this many empty destination options.
fn behind(headers: usize) -> PacketShape {
    PacketShape {
        extra: headers,
        l4: (1000, 9999),
        ..PacketShape::udp(SOURCE_V6, true)
    }
}

#[rstest]
#[case::drop(all(Action::Drop))]
#[case::reject(all(Action::Reject))]
#[case::limit(ActionRecord { flags: ActionRecord::LIMIT_RULE, ..all(Action::Pass) })]
#[case::limit_per_source(ActionRecord { flags: ActionRecord::LIMIT_SOURCE, ..all(Action::Redirect) })]
fn no_number_of_extension_headers_evades_a_rule_that_drops(#[case] record: ActionRecord) {
    let model = high_ports(record);
    for headers in 0..=20 {
        let frame = behind(headers).frame();
        let mut scratch = Scratch::uninit();
        let decision = examine(frame.as_slice(), &model, &mut scratch);
        if headers <= 6 {
            assert_eq!(decision.rule(), Some(7), "{headers}");
        } else {
            let dropped = Verdict::UnparsedDrop(UnparsedDrop::TooManyExtensionHeaders);
            assert_eq!(decision.verdict(), dropped, "{headers}");
            assert_eq!((decision.trace.slot, decision.rule()), (SLOT, None));
        }
    }
}

#[rstest]
#[case::pass(all(Action::Pass))]
#[case::redirect(all(Action::Redirect))]
#[case::audit(ActionRecord { flags: ActionRecord::AUDIT | ActionRecord::LIMIT_RULE, ..all(Action::Drop) })]
fn without_a_rule_that_drops_what_cannot_be_parsed_passes(#[case] record: ActionRecord) {
    let model = high_ports(record);
    let jumbogram = PacketShape {
        jumbogram: true,
        ..behind(0)
    };
    let short = PacketShape {
        cut: Some(2),
        ..behind(1)
    };
    for (shape, reason) in [
        (behind(7), Unparsed::TooManyExtensionHeaders),
        (jumbogram, Unparsed::Jumbogram),
        (short, Unparsed::Short),
    ] {
        let verdict = decide(shape.frame().as_slice(), &model);
        assert_eq!(verdict, Verdict::Unparsed(reason));
    }
}

/// VLANs 1, and 2 in 1, are the node's.
#[rstest]
#[case::priority(&[0, 0, 0], true)]
#[case::more(&[0, 0, 0, 0, 0, 0, 0, 0], true)]
#[case::of_a_vlan(&[1, 0, 0], true)]
#[case::before_a_vlan(&[0, 0, 1], true)]
#[case::before_two_vlans(&[0, 1, 2], true)]
#[case::of_two_vlans(&[1, 2, 0], true)]
#[case::between_two_vlans(&[1, 0, 2], true)]
#[case::stacked(&[1, 2, 3], false)]
#[case::of_another_vlan(&[7, 0, 0], false)]
fn tags_for_the_priority_evade_no_rule_that_drops(#[case] vlans: &[u8], #[case] dropped: bool) {
    let mut model = NONE();
    let frame = |mac: [u8; 6]| {
        let mut frame = udp().frame();
        frame[..6].copy_from_slice(&mac);
        let tags = vlans.iter().flat_map(|vlan| [0x81, 0, 0xe0, *vlan]);
        drop(frame.splice(12..12, tags));
        frame
    };
    let own = frame([2, 0, 0, 0, 0, 1]);
    let passed = Verdict::Unparsed(Unparsed::TooManyTags);
    assert_eq!(decide(own.as_slice(), &model), passed, "no rule drops");
    for receiver in model.stations.values_mut() {
        receiver.flags |= Receiver::DROPS;
    }
    let verdict = if dropped {
        Verdict::UnparsedDrop(UnparsedDrop::TooManyTags)
    } else {
        passed
    };
    assert_eq!(decide(own.as_slice(), &model), verdict);
    assert_eq!(decide(frame([0xff; 6]).as_slice(), &model), verdict);
    assert_eq!(decide(frame([2, 0, 0, 0, 0, 9]).as_slice(), &model), passed);
}

#[rstest]
fn a_known_protocol_is_dropped_only_by_the_rules_for_it(#[values(false, true)] v6: bool) {
    let model = high_ports(all(Action::Drop));
    let short = |protocol, cut| PacketShape {
        protocol,
        cut: Some(cut),
        ..PacketShape::udp(if v6 { SOURCE_V6 } else { SOURCE }, v6)
    };
    let verdict = |shape: &PacketShape| decide(shape.frame().as_slice(), &model);
    for cut in 0..4 {
        let dropped = Verdict::UnparsedDrop(UnparsedDrop::Short);
        assert_eq!(verdict(&short(17, cut)), dropped, "{cut}");
        for protocol in [6, 132, if v6 { 58 } else { 1 }] {
            let passed = Verdict::Unparsed(Unparsed::Short);
            assert_eq!(verdict(&short(protocol, cut)), passed, "{protocol} {cut}");
        }
        // Protocols without ports are known whole.
        assert_eq!(verdict(&short(47, cut)), Verdict::NoMatch);
    }
    // Four bytes are enough, as in a first fragment.
    assert_eq!(verdict(&short(17, 4)), Verdict::NoMatch);
}

#[test]
fn what_cannot_be_parsed_passes_without_a_pod_its_device_or_its_tables() {
    let whole = high_ports(all(Action::Drop));
    let frame = behind(7).frame();
    let without: [fn(&mut PodModel); 4] = [
        |model| model.alive = false,
        |model| model.word = SlotWord::EMPTY,
        |model| model.hash.clear(),
        |model| model.classes.clear(),
    ];
    for change in without {
        let mut model = whole.clone();
        change(&mut model);
        let passed = Verdict::Unparsed(Unparsed::TooManyExtensionHeaders);
        assert_eq!(decide(frame.as_slice(), &model), passed);
    }
}

#[test]
fn without_permission_only_redirects_change() {
    let shape = udp();
    let bytes = shape.frame();
    for action in [Action::Pass, Action::Drop, Action::Reject, Action::Redirect] {
        for flags in [0, ActionRecord::AUDIT, ActionRecord::PEER] {
            let record = ActionRecord { flags, ..all(action) };
            let mut model = NONE().with_rule(record);
            let permitted = decide(bytes.as_slice(), &model);
            model.pod.flags |= PodBlock::WITHOUT_PERMISSION;
            let expected = match permitted {
                Verdict::Redirect(_) | Verdict::Peer(_) => Verdict::FallBack {
                    rule: 7,
                    reason: Fallback::NotPermitted,
                },
                other => other,
            };
            assert_eq!(decide(bytes.as_slice(), &model), expected, "{action:?} {flags}");
        }
    }
}

#[test]
fn without_permission_flows_from_before_take_the_stack_too() {
    let shape = udp();
    let bytes = shape.frame();
    for action in [Action::Redirect, Action::Pass] {
        let mut model = NONE().with_rule(all(action));
        let scope = |model: &PodModel| {
            let mut scratch = Scratch::uninit();
            let decision = examine(bytes.as_slice(), model, &mut scratch);
            decision.drain_scope(decision.outcome.kind)
        };
        model.pod.flags = PodBlock::REPLY_PATH | PodBlock::DRAIN | PodBlock::WITHOUT_PERMISSION;
        assert_eq!(scope(&model), DrainScope::Nothing, "{action:?}");
    }
}
