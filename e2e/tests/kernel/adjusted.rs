//! Packets that were adjusted at both ends arrive unchanged.

use crate::{
    fixture::{Fixture, NIC_MAC, POD_MAC, pass, redirect},
    shared::ProbePlan,
    wire::{
        frame, {self},
    },
};

const VALUE: u64 = 0x0102_0304_0506_0708;
/// A veth aligns its buffers to cache lines, so a frame of 66 bytes has 62 bytes of tailroom. mlx5 has a page
/// for every packet.
pub(crate) const ROOMY: usize = 66;

#[test]
fn a_packet_adjusted_by_head_meta_and_tail_can_pass() {
    for (head, tail) in [(-20, 30), (20, -10)] {
        let header = wire::header(NIC_MAC);
        let mut fixture = Fixture::passing(ProbePlan {
            meta: -16,
            value: VALUE,
            head,
            tail,
            header,
            ..pass()
        });
        fixture.wire.send(&frame(NIC_MAC, ROOMY));
        assert_adjusted(&mut fixture, head, tail, header);
    }
}

#[test]
fn a_packet_adjusted_by_head_meta_and_tail_can_be_redirected() {
    for (head, tail) in [(-20, 30), (20, -10)] {
        let header = wire::header(POD_MAC);
        let mut fixture = Fixture::redirecting(ProbePlan {
            meta: -16,
            value: VALUE,
            head,
            tail,
            ..redirect()
        });
        fixture.wire.send(&frame(NIC_MAC, ROOMY));
        assert_adjusted(&mut fixture, head, tail, header);
    }
}

/// Checks that the packet arrives as adjusted, byte by byte, with its metadata.
fn assert_adjusted(fixture: &mut Fixture, head: i32, tail: i32, header: [u8; 14]) {
    let record = fixture.programs.record();
    let mut expected = frame(NIC_MAC, ROOMY);
    if head > 0 {
        expected.drain(..head as usize);
    } else {
        // The new bytes in front contain the rest of the metadata and earlier content: not asserted.
        expected.splice(..0, vec![0; -head as usize]);
    }
    expected = resized(expected, tail);
    expected[..14].copy_from_slice(&header);
    let length = expected.len();
    assert_eq!(record.length as usize, length);
    assert_eq!((record.metadata, record.value), (16, VALUE));
    let known = 14.max(usize::try_from(-head).unwrap_or(0));
    assert_eq!(record.bytes[..14], header);
    assert_eq!(
        record.bytes[known..length],
        expected[known..],
        "head {head}, tail {tail}"
    );
}

/// Truncates, or appends zeroes.
pub(crate) fn resized(mut bytes: Vec<u8>, by: i32) -> Vec<u8> {
    bytes.resize(bytes.len().checked_add_signed(by as isize).unwrap(), 0);
    bytes
}
