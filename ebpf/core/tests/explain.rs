//! The encoding of the answer of `xdp_explain`.

use xdp_core::{
    events::{Fallback, Unparsed},
    explain::{Explained, LEN},
    key::Scratch,
    tables::{Action, ActionRecord, PodBlock},
    testing::{POD, POD_V6, PacketShape, PodModel, SLOT},
    verdict::{Kind, examine},
};

fn explained(model: &PodModel, frame: &[u8]) -> Option<Explained> {
    let mut packet = frame.to_vec();
    packet.resize(packet.len().max(LEN), 0);
    packet[..LEN].copy_from_slice(&Explained::bytes(&examine(frame, model, &mut Scratch::uninit())));
    Explained::read(&packet)
}

#[test]
fn a_reader_gets_back_what_was_decided_and_how() {
    let record = ActionRecord {
        rule: 7,
        action: Action::Redirect as u8,
        ..ActionRecord::default()
    };
    let mut model = PodModel::new(POD, POD_V6).with_rule(record);
    let frame = PacketShape::udp(0xc633_6407, false).frame();
    let redirected = Explained {
        kind: Kind::Redirect,
        rule: Some(7),
        slot: Some(SLOT),
        class: Some(0),
        action: Some(1),
        reason: None,
    };
    assert_eq!(explained(&model, &frame), Some(redirected));
    model.pod.flags = PodBlock::NOT_READY;
    let fallen_back = Explained {
        kind: Kind::FallBack,
        reason: Some(Fallback::NotReady.code()),
        ..redirected
    };
    assert_eq!(explained(&model, &frame), Some(fallen_back));
}

#[test]
fn steps_that_were_not_reached_are_absent() {
    let model = PodModel::new(POD, POD_V6);
    let frame = PacketShape::udp(0xc633_6407, false).frame();
    let no_match = explained(&model, &frame).map(|it| (it.kind, it.rule, it.slot, it.class, it.action));
    assert_eq!(
        no_match,
        Some((Kind::NoMatch, None, Some(SLOT), Some(0), Some(0)))
    );
    let short = Explained {
        kind: Kind::Unparsed,
        rule: None,
        slot: None,
        class: None,
        action: None,
        reason: Some(Unparsed::Short.code()),
    };
    assert_eq!(explained(&model, &frame[..20]), Some(short));
}

#[test]
fn a_packet_in_which_nothing_was_left_is_not_read() {
    let frame = PacketShape::udp(0xc633_6407, false).frame();
    assert_eq!(Explained::read(&frame), None);
    assert_eq!(Explained::read(&frame[..LEN - 1]), None);
}
