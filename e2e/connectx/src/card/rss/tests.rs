use super::*;
use crate::card::{fixture::Content, parse::parse};

const BOTH_ADDRESSES: u64 = SOURCE_ADDRESS | DESTINATION_ADDRESS;
const ALL: u64 = BOTH_ADDRESSES | SOURCE_PORT | DESTINATION_PORT;

fn context(function: u64, symmetric: bool, fields: u64) -> Vec<u8> {
    let mut context = vec![0; 256];
    tirc::DISP_TYPE.set(&mut context, INDIRECT);
    tirc::INDIRECT_TABLE.set(&mut context, 0x11);
    tirc::RX_HASH_FN.set(&mut context, function);
    tirc::RX_HASH_SYMMETRIC.set(&mut context, symmetric.into());
    tirc::RX_HASH_FIELD_SELECTOR_OUTER.set(&mut context, fields);
    let key = tirc::RX_HASH_TOEPLITZ_KEY.byte();
    for (index, byte) in context[key..key + toeplitz::KEY].iter_mut().enumerate() {
        *byte = 0x6d ^ index as u8;
    }
    context
}

fn hash(context: &[u8], frame: &[u8]) -> Hash {
    Tir::parse(context).hash(frame, &parse(frame))
}

/// Returns the frame in the other direction.
fn reversed(mut frame: Vec<u8>) -> Vec<u8> {
    let (network, transport) = {
        let headers = parse(&frame);
        (headers.network.unwrap(), headers.transport.unwrap())
    };
    let (source, destination) = (
        network.source(&frame).to_vec(),
        network.destination(&frame).to_vec(),
    );
    let at = if network.version == 4 { 12 } else { 8 };
    frame[network.start + at..network.start + at + 2 * source.len()]
        .copy_from_slice(&[destination, source].concat());
    frame[transport.start..transport.start + 4].rotate_left(2);
    frame
}

#[test]
fn the_toeplitz_hash_is_over_the_selected_fields() {
    let frame = Content {
        tcp: true,
        ..Content::default()
    }
    .frame();
    let key: [u8; toeplitz::KEY] = std::array::from_fn(|index| 0x6d ^ index as u8);
    let addresses = [10, 9, 0, 2, 10, 9, 0, 1];
    let ports = [5000_u16.to_be_bytes(), 80_u16.to_be_bytes()].concat();
    let expected = toeplitz::hash(&key, &[addresses.to_vec(), ports].concat());
    assert_eq!(
        hash(&context(TOEPLITZ, false, ALL), &frame),
        Hash {
            value: expected,
            kind: 0x44
        }
    );
    let expected = toeplitz::hash(&key, &addresses);
    assert_eq!(
        hash(&context(TOEPLITZ, false, BOTH_ADDRESSES), &frame),
        Hash {
            value: expected,
            kind: 0x04
        }
    );
}

#[test]
fn the_kind_names_the_headers() {
    let kind = |version, tcp| {
        let frame = Content {
            version,
            tcp,
            ..Content::default()
        }
        .frame();
        hash(&context(TOEPLITZ, false, ALL), &frame).kind
    };
    assert_eq!(
        [kind(4, true), kind(4, false), kind(6, true), kind(6, false)],
        [0x44, 0x84, 0x48, 0x88]
    );
}

#[test]
fn xor8_is_the_inverted_sum_of_bytes() {
    let frame = Content::default().frame();
    let expected = ![10, 9, 0, 2, 10, 9, 0, 1]
        .iter()
        .fold(0_u8, |sum, byte| sum ^ byte);
    assert_eq!(
        hash(&context(1, false, BOTH_ADDRESSES), &frame).value,
        u32::from(expected)
    );
}

#[test]
fn a_symmetric_hash_is_equal_in_both_directions() {
    for version in [4, 6] {
        let frame = Content {
            version,
            tcp: true,
            ..Content::default()
        }
        .frame();
        let symmetric = context(TOEPLITZ, true, ALL);
        assert_eq!(
            hash(&symmetric, &frame),
            hash(&symmetric, &reversed(frame.clone()))
        );
        let plain = context(TOEPLITZ, false, ALL);
        assert_ne!(hash(&plain, &frame), hash(&plain, &reversed(frame.clone())));
    }
}

#[test]
fn a_frame_without_ip_has_an_empty_input() {
    let frame = [0xff; 60];
    assert_eq!(
        hash(&context(TOEPLITZ, false, ALL), &frame),
        Hash { value: 0, kind: 0 }
    );
}

#[test]
fn a_tir_for_one_queue_has_no_hash() {
    let mut context = context(TOEPLITZ, false, ALL);
    tirc::DISP_TYPE.set(&mut context, 0);
    tirc::INLINE_RQN.set(&mut context, 0x2003);
    let tir = Tir::parse(&context);
    assert_eq!(tir.target, Target::Queue(0x2003));
    let frame = Content::default().frame();
    assert_eq!(tir.hash(&frame, &parse(&frame)), Hash::default());
}

#[test]
fn a_modification_takes_what_the_mask_selects() {
    let mut tir = Tir::parse(&context(1, false, BOTH_ADDRESSES));
    let new = context(TOEPLITZ, false, ALL);
    let mut mask = [0; 8];
    tir.modify(&new, &mask);
    assert_eq!(tir, Tir::parse(&context(1, false, BOTH_ADDRESSES)));
    modify_tir_bitmask::HASH.set(&mut mask, 1);
    tir.modify(&new, &mask);
    assert_eq!(tir, Tir::parse(&new));
}

#[test]
fn the_low_bits_of_the_hash_select_the_queue() {
    let table = [10, 11, 12, 13];
    assert_eq!(
        queue(
            &table,
            Hash {
                value: 0xffff_fff6,
                kind: 0
            }
        ),
        Some(12)
    );
    assert_eq!(queue(&[], Hash::default()), None);
}
