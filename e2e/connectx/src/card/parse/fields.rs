//! The fields of a frame that flow tables match.

use super::{Network, TCP, Transport, word};
use crate::card::{
    bits::{Field, set, set_at},
    layout::fte_match_set_lyr_2_4 as outer,
};

pub(super) fn addresses(frame: &[u8], fields: &mut [u8]) {
    let address = |at: usize| {
        frame[at..at + 6]
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    set(fields, outer::DMAC_47_16, address(0) >> 16);
    set(fields, outer::DMAC_15_0, address(0) & 0xffff);
    set(fields, outer::SMAC_47_16, address(6) >> 16);
    set(fields, outer::SMAC_15_0, address(6) & 0xffff);
}

pub(super) fn network(frame: &[u8], network: Network, fields: &mut [u8]) {
    let header = &frame[network.start..];
    let (traffic_class, time_to_live) = match network.version {
        4 => (header[1], header[8]),
        _ => (header[0] << 4 | header[1] >> 4, header[7]),
    };
    for (field, value) in [
        (outer::IP_VERSION, network.version),
        (outer::IP_PROTOCOL, network.protocol),
        (outer::FRAG, network.fragment.into()),
        (outer::IP_DSCP, traffic_class >> 2),
        (outer::IP_ECN, traffic_class & 3),
        (outer::TTL_HOPLIMIT, time_to_live),
    ] {
        set(fields, field, value.into());
    }
    for (field, address) in [
        (outer::SRC_IPV4_SRC_IPV6, network.source(frame)),
        (outer::DST_IPV4_DST_IPV6, network.destination(frame)),
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
        set(fields, outer::TCP_FLAGS, flags.into());
        (outer::TCP_SPORT, outer::TCP_DPORT)
    } else {
        (outer::UDP_SPORT, outer::UDP_DPORT)
    };
    set(fields, source, transport.source(frame).into());
    set(fields, destination, transport.destination(frame).into());
}
