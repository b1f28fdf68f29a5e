//! Verdicts, against a plain reading of the documentation of [`Entry`].

#[path = "verdict/oracle.rs"]
mod oracle;

use proptest::prelude::*;
use xdp_core::metadata::Metadata;
use xdp_core::tables::{Action, Address, Block, EVENTS, Entry, MAX_ENTRIES, RuleCounters, SlotWord};
use xdp_core::verdict::{Fallback, Field, Redirect, Tables, Verdict, decide};

const POD: Address = Address::v4([10, 0, 0, 2]);
const POD_V6: Address = Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
const SLOT: u32 = 5;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

struct Fake {
    word: SlotWord,
    alive: bool,
    block: Block,
}

impl Fake {
    fn new(list: &[Entry]) -> Self {
        let mut entries = [Entry::default(); MAX_ENTRIES];
        entries[..list.len()].copy_from_slice(list);
        let block = Block {
            len: list.len() as u32,
            mtu: 1500,
            mac: MAC,
            reserved: [0; 2],
            entries,
        };
        Self {
            word: SlotWord::new(1, 3),
            alive: true,
            block,
        }
    }
}

impl Tables for Fake {
    fn slot(&self, destination: &Address) -> Option<u32> {
        (*destination == POD || *destination == POD_V6).then_some(SLOT)
    }

    fn word(&self, slot: u32) -> Option<SlotWord> {
        (slot == SLOT).then_some(self.word)
    }

    fn alive(&self, _: u32) -> bool {
        self.alive
    }

    fn block(&self, index: u32) -> Option<&Block> {
        (index == 3).then_some(&self.block)
    }
}

/// An IPv4 frame from 10.0.1.1 to the pod.
fn v4(protocol: u8, l4: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([
        0x45, 0, 0, 28, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 1, 1, 10, 0, 0, 2,
    ]);
    frame.extend(l4);
    frame.extend([0; 4]);
    frame
}

/// An IPv6 frame to the pod.
fn v6(protocol: u8, l4: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, protocol, 64,
    ];
    frame.extend(Address::v6([0x20; 16]).octets());
    frame.extend(POD_V6.octets());
    frame.extend(l4);
    frame.extend([0; 4]);
    frame
}

fn udp() -> Vec<u8> {
    v4(17, [3, 232, 30, 97])
}

fn all(action: Action) -> Entry {
    Entry {
        rule: 7,
        action: action as u8,
        ..Entry::default()
    }
}

fn verdict(list: &[Entry], frame: &[u8]) -> Verdict {
    decide(frame, &Fake::new(list))
}

#[test]
fn a_redirect_carries_slot_mac_and_metadata() {
    let entry = Entry {
        mark: 42,
        flags: Entry::MARK,
        ..all(Action::Redirect)
    };
    assert_eq!(
        verdict(&[entry], &udp()),
        Verdict::Redirect(Redirect {
            slot: SLOT,
            mac: MAC,
            tags: 0,
            metadata: Metadata::new(7, Some(42)),
        })
    );
}

#[test]
fn whatever_is_missing_passes() {
    let drop_all = [all(Action::Drop)];
    assert_eq!(verdict(&drop_all, &udp()), Verdict::Drop { rule: 7 });
    let dead = Fake {
        alive: false,
        ..Fake::new(&drop_all)
    };
    assert_eq!(decide(udp().as_slice(), &dead), Verdict::NotConsidered);
    let empty = Fake {
        word: SlotWord::EMPTY,
        ..Fake::new(&drop_all)
    };
    assert_eq!(decide(udp().as_slice(), &empty), Verdict::NotConsidered);
    let dangling = Fake {
        word: SlotWord::new(1, 4),
        ..Fake::new(&drop_all)
    };
    assert_eq!(decide(udp().as_slice(), &dangling), Verdict::NotConsidered);
    let mut elsewhere = udp();
    elsewhere[33] = 3;
    assert_eq!(verdict(&drop_all, &elsewhere), Verdict::NotConsidered);
    assert_eq!(verdict(&[], &udp()), Verdict::NoMatch);
}

#[test]
fn neighbour_discovery_and_dhcp_are_never_considered() {
    let drop_all = [all(Action::Drop)];
    for kind in 133..=137 {
        assert_eq!(
            verdict(&drop_all, &v6(58, [kind, 0, 0, 0])),
            Verdict::NotConsidered
        );
    }
    assert_eq!(
        verdict(&drop_all, &v6(58, [128, 0, 0, 0])),
        Verdict::Drop { rule: 7 }
    );
    assert_eq!(
        verdict(&drop_all, &v4(17, [0, 67, 0, 68])),
        Verdict::NotConsidered
    );
    assert_eq!(
        verdict(&drop_all, &v4(17, [0, 67, 0, 69])),
        Verdict::Drop { rule: 7 }
    );
    assert_eq!(
        verdict(&drop_all, &v4(6, [0, 67, 0, 68])),
        Verdict::Drop { rule: 7 }
    );
    assert_eq!(
        verdict(&drop_all, &v6(17, [2, 34, 2, 35])),
        Verdict::NotConsidered
    );
    assert_eq!(
        verdict(&drop_all, &v4(17, [2, 34, 2, 35])),
        Verdict::Drop { rule: 7 }
    );
}

#[test]
fn path_mtu_messages_are_matched_by_name_only() {
    let catch_all = all(Action::Drop);
    for (frame, protocol) in [(v4(1, [3, 4, 0, 0]), 1), (v6(58, [2, 0, 0, 0]), 58)] {
        assert_eq!(verdict(&[catch_all], &frame), Verdict::NoMatch);
        let named = Entry {
            protocol,
            flags: Entry::PROTOCOL,
            ..catch_all
        };
        assert_eq!(verdict(&[named], &frame), Verdict::Drop { rule: 7 });
    }
    assert_eq!(
        verdict(&[catch_all], &v4(1, [3, 3, 0, 0])),
        Verdict::Drop { rule: 7 }
    );
}

#[test]
fn what_stands_against_a_redirect_is_named_in_order() {
    let redirect = all(Action::Redirect);
    let fall_back = |reason| Verdict::FallBack { rule: 7, reason };
    let mut group = udp();
    group[0] = 3;
    let not_ready = Entry {
        flags: Entry::NOT_READY,
        ..redirect
    };
    assert_eq!(verdict(&[not_ready], &group), fall_back(Fallback::NotReady));
    let mut fake = Fake::new(&[redirect]);
    fake.block.mtu = 27;
    assert_eq!(decide(group.as_slice(), &fake), fall_back(Fallback::GroupMac));
    assert_eq!(decide(udp().as_slice(), &fake), fall_back(Fallback::TooLong));
    fake.block.mtu = 28;
    assert!(matches!(decide(udp().as_slice(), &fake), Verdict::Redirect(_)));
}

#[test]
fn audit_comes_before_everything_else() {
    for action in [Action::Pass, Action::Drop, Action::Redirect] {
        let entry = Entry {
            flags: Entry::AUDIT | Entry::NOT_READY,
            ..all(action)
        };
        assert_eq!(verdict(&[entry], &udp()), Verdict::Audit { rule: 7 });
    }
}

#[test]
fn an_unknown_action_passes() {
    for action in [0, 1, 4, 255] {
        assert_eq!(
            verdict(
                &[Entry {
                    action,
                    ..all(Action::Drop)
                }],
                &udp()
            ),
            Verdict::Pass { rule: 7 }
        );
    }
}

#[test]
fn a_length_beyond_the_block_ends_with_the_block() {
    let mut fake = Fake::new(&[]);
    fake.block.len = u32::MAX;
    fake.block.entries.fill(Entry {
        flags: Entry::PROTOCOL,
        protocol: 200,
        ..all(Action::Drop)
    });
    assert_eq!(decide(udp().as_slice(), &fake), Verdict::NoMatch);
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
    let mut counters = RuleCounters::default();
    Field::Dropped.of(&mut counters).packets = 1;
    assert_eq!(counters.dropped.packets, 1);
    for reason in Fallback::ALL {
        assert!((16..EVENTS).contains(&reason.code()));
        assert_eq!(reason.name(), format!("{reason:?}"));
    }
}

#[test]
fn no_truncated_packet_is_dropped_that_was_not_before() {
    let list = [Entry {
        flags: Entry::PROTOCOL,
        protocol: 17,
        ..all(Action::Drop)
    }];
    for frame in [udp(), v6(17, [0, 1, 0, 2])] {
        for len in 0..frame.len() {
            assert!(
                matches!(verdict(&list, &frame[..len]), Verdict::Unparsed(_)),
                "{len}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    #[test]
    fn the_oracle_agrees(list in prop::collection::vec(oracle::entry(), 0..=12), shape in oracle::shape()) {
        prop_assert_eq!(verdict(&list, &shape.frame()), shape.verdict(&list));
    }

    #[test]
    fn a_cut_packet_passes(shape in oracle::shape(), cut in any::<prop::sample::Index>()) {
        let frame = shape.frame();
        let short = &frame[..cut.index(frame.len())];
        prop_assert!(matches!(verdict(&[all(Action::Drop)], short), Verdict::Unparsed(_)));
    }

    #[test]
    fn arbitrary_bytes_have_a_verdict(
        mut frame in prop::collection::vec(any::<u8>(), 0..128),
        v6 in any::<bool>(),
    ) {
        // Half-way sensible, or nothing behind the Ethernet header would ever be looked at.
        if frame.len() > 15 {
            frame[12..15].copy_from_slice(if v6 { &[0x86, 0xdd, 0x60] } else { &[8, 0, 0x45] });
        }
        let undecided = matches!(verdict(&[], &frame), Verdict::Unparsed(_) | Verdict::NotConsidered | Verdict::NoMatch);
        prop_assert!(undecided);
    }
}
