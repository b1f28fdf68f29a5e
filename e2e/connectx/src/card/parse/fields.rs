//! The fields of a frame that flow tables match.

use super::{Network, TCP, Transport, word};
use crate::card::{
    bits::{Field, set, set_at},
    layout,
};

pub(super) fn addresses(frame: &[u8], fields: &mut [u8]) {
    let address = |at: usize| {
        frame[at..at + 6]
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    set(
        fields,
        layout::fte_match_set_lyr_2_4::DMAC_47_16,
        address(0) >> 16,
    );
    set(
        fields,
        layout::fte_match_set_lyr_2_4::DMAC_15_0,
        address(0) & 0xffff,
    );
    set(
        fields,
        layout::fte_match_set_lyr_2_4::SMAC_47_16,
        address(6) >> 16,
    );
    set(
        fields,
        layout::fte_match_set_lyr_2_4::SMAC_15_0,
        address(6) & 0xffff,
    );
}

pub(super) fn network(frame: &[u8], network: Network, fields: &mut [u8]) {
    let header = &frame[network.start..];
    let traffic_class = if network.version == 4 {
        header[1]
    } else {
        header[0] << 4 | header[1] >> 4
    };
    let time_to_live = if network.version == 4 {
        header[8]
    } else {
        header[7]
    };
    set(
        fields,
        layout::fte_match_set_lyr_2_4::IP_VERSION,
        network.version.into(),
    );
    set(
        fields,
        layout::fte_match_set_lyr_2_4::IP_PROTOCOL,
        network.protocol.into(),
    );
    set(
        fields,
        layout::fte_match_set_lyr_2_4::FRAG,
        network.fragment.into(),
    );
    set(
        fields,
        layout::fte_match_set_lyr_2_4::IP_DSCP,
        u64::from(traffic_class >> 2),
    );
    set(
        fields,
        layout::fte_match_set_lyr_2_4::IP_ECN,
        u64::from(traffic_class & 3),
    );
    set(
        fields,
        layout::fte_match_set_lyr_2_4::TTL_HOPLIMIT,
        time_to_live.into(),
    );
    for (field, address) in [
        (
            layout::fte_match_set_lyr_2_4::SRC_IPV4_SRC_IPV6,
            network.source(frame),
        ),
        (
            layout::fte_match_set_lyr_2_4::DST_IPV4_DST_IPV6,
            network.destination(frame),
        ),
    ] {
        // An IPv4 address is in the last four bytes of the field.
        for (index, byte) in address.iter().enumerate() {
            let at = 128 - address.len() * 8 + index * 8;
            set_at(fields, field.bit, Field::new(at, 8), u64::from(*byte));
        }
    }
}

pub(super) fn transport(frame: &[u8], transport: Transport, fields: &mut [u8]) {
    let (source, destination) = if transport.protocol == TCP {
        let flags = word(frame, transport.start + 12) & 0x1ff;
        set(fields, layout::fte_match_set_lyr_2_4::TCP_FLAGS, flags.into());
        (
            layout::fte_match_set_lyr_2_4::TCP_SPORT,
            layout::fte_match_set_lyr_2_4::TCP_DPORT,
        )
    } else {
        (
            layout::fte_match_set_lyr_2_4::UDP_SPORT,
            layout::fte_match_set_lyr_2_4::UDP_DPORT,
        )
    };
    set(fields, source, transport.source(frame).into());
    set(fields, destination, transport.destination(frame).into());
}
