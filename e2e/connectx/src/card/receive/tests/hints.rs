//! What completions say about a frame.

use super::*;
use crate::card::{checksum, parse::parse};

#[test]
fn a_stripped_tag_is_in_the_completion() {
    let mut port = Port::cyclic();
    let tagged = Content {
        vlan: Some(0x123),
        ..Content::default()
    }
    .frame();
    let kept = port.post(&[2048]);
    let completion = port.receive_one(&tagged);
    assert_eq!((completion[29] & 1, word(&completion, 30)), (0, 0));
    assert_eq!(port.fixture.read(kept[0], tagged.len()), tagged);
    port.queue().keeps_vlan = false;
    let stripped = port.post(&[2048]);
    let completion = port.receive_one(&tagged);
    assert_eq!((completion[29] & 1, word(&completion, 30)), (1, 0x123));
    let plain = Content::default().frame();
    assert_eq!(port.fixture.read(stripped[0], plain.len()), plain);
    assert_eq!(number(&completion, 44), plain.len() as u32);
}

#[test]
fn the_frame_check_sequence_follows_where_it_is_asked_for() {
    let mut port = Port::cyclic();
    let mut context = vec![0; 256];
    rqc::STATE.set(&mut context, READY);
    rqc::SCATTER_FCS.set(&mut context, 1);
    port.queue().modify(&context, MODIFY_SCATTER_FCS);
    let buffers = port.post(&[2048]);
    let frame = frame(50);
    let completion = port.receive_one(&frame);
    assert_eq!(number(&completion, 44), frame.len() as u32 + 4);
    let written = port.fixture.read(buffers[0] + frame.len() as u64, 4);
    assert_eq!(written, frame_check::sequence(&frame));
}

#[test]
fn completions_have_the_time_of_the_cards_clock() {
    let mut port = Port::cyclic();
    let time = |completion: &[u8; LENGTH]| {
        u64::from(number(completion, 48)) << 32 | u64::from(number(completion, 52))
    };
    let before = port.fixture.device.now();
    port.post(&[2048]);
    let first = time(&port.receive_one(&frame(50)));
    port.post(&[2048]);
    let second = time(&port.receive_one(&frame(50)));
    assert!(before <= first && first < second && second <= port.fixture.device.now());
}

#[test]
fn completions_say_which_checksums_are_right() {
    let mut port = Port::cyclic();
    let good = Content {
        tcp: true,
        ..Content::default()
    }
    .frame();
    let mut network = good.clone();
    network[24] ^= 1;
    let mut transport = good.clone();
    *transport.last_mut().unwrap() ^= 1;
    let flags = [&good, &network, &transport].map(|frame| {
        port.post(&[2048]);
        port.receive_one(frame)[28]
    });
    assert_eq!(flags, [0b111, 0b101, 0b011]);
    let counters = &port.fixture.device.counters;
    assert_eq!(
        (counters.bad_network_checksums, counters.bad_transport_checksums),
        (1, 1)
    );
}

#[test]
fn the_sum_in_a_completion_is_over_the_ip_packet() {
    let mut port = Port::cyclic();
    let short = Content {
        vlan: Some(5),
        payload: vec![1, 2, 3],
        ..Content::default()
    }
    .frame();
    let mut padded = short.clone();
    padded.extend([0xee; 40]);
    port.post(&[2048]);
    let completion = port.receive_one(&padded);
    assert_eq!(word(&completion, 20), checksum::sum(0, &short[18..]));
}

#[test]
fn completions_name_the_headers() {
    let mut port = Port::cyclic();
    let contents = [
        Content {
            tcp: true,
            ..Content::default()
        },
        Content {
            tcp: true,
            payload: vec![],
            ..Content::default()
        },
        Content {
            version: 6,
            ..Content::default()
        },
    ];
    let kinds = contents.map(|content| {
        port.post(&[2048]);
        port.receive_one(&content.frame())[29]
    });
    assert_eq!(kinds, [4 << 4 | 2 << 2, 3 << 4 | 2 << 2, 2 << 4 | 1 << 2]);
}

#[test]
fn a_table_spreads_frames_by_their_hash() {
    let mut port = Port::cyclic();
    let mut tir = vec![0; 256];
    tirc::DISP_TYPE.set(&mut tir, 1);
    tirc::INDIRECT_TABLE.set(&mut tir, 5);
    tirc::RX_HASH_FN.set(&mut tir, 1);
    tirc::RX_HASH_FIELD_SELECTOR_OUTER.set(&mut tir, 0b11);
    port.fixture.device.tirs.insert(TIR, Tir::parse(&tir));
    let frame = frame(50);
    let hash = Tir::parse(&tir).hash(&frame, &parse(&frame));
    let mut table = vec![RQ + 1; 8];
    table[hash.value as usize % 8] = RQ;
    port.fixture.device.rqts.insert(5, table);
    port.post(&[2048]);
    let completion = port.receive_one(&frame);
    assert_eq!((number(&completion, 12), completion[16]), (hash.value, 1 << 2));
    assert_eq!(number(&completion, 24), RQ);
}
