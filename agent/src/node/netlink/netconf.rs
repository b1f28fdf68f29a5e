//! Reads `rp_filter` of interfaces.

use std::collections::BTreeMap;

use netlink_packet_core::{
    DecodeError, NetlinkDeserializable, NetlinkHeader, NetlinkPayload, NetlinkSerializable, NlasIterator,
    parse_i32, parse_u32,
};

use crate::node::netlink::{NetlinkError, client::Client};

// include/uapi/linux/netconf.h and rtnetlink.h
const RTM_GETNETCONF: u16 = 82;
const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_RP_FILTER: u16 = 3;
const NETCONFA_IFINDEX_ALL: i32 = -1;
/// `struct netconfmsg`: the family, aligned.
const HEADER_LEN: usize = 4;

/// `rp_filter` of the interfaces of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReversePathFilters {
    all: u32,
    of: BTreeMap<i32, u32>,
}

impl ReversePathFilters {
    /// Returns what the kernel applies: the larger of the interface's value and that of all interfaces
    /// (`IN_DEV_RPFILTER`).
    pub fn effective(&self, ifindex: u32) -> u32 {
        let own = i32::try_from(ifindex)
            .ok()
            .and_then(|ifindex| self.of.get(&ifindex));
        self.all.max(own.copied().unwrap_or_default())
    }

    pub(super) fn add(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        let (mut ifindex, mut filter) = (None, None);
        for attribute in NlasIterator::new(message.get(HEADER_LEN..).unwrap_or_default()) {
            let attribute = attribute?;
            match attribute.kind() {
                NETCONFA_IFINDEX => ifindex = Some(parse_i32(attribute.value())?),
                NETCONFA_RP_FILTER => filter = Some(parse_u32(attribute.value())?),
                _ => {}
            }
        }
        match (ifindex, filter) {
            (Some(NETCONFA_IFINDEX_ALL), Some(filter)) => self.all = filter,
            (Some(ifindex), Some(filter)) => drop(self.of.insert(ifindex, filter)),
            _ => {}
        }
        Ok(())
    }
}

/// Reads `rp_filter` of all interfaces of the calling thread's namespace.
pub fn rp_filters() -> Result<ReversePathFilters, NetlinkError> {
    let request = "RTM_GETNETCONF";
    let mut filters = ReversePathFilters::default();
    for reply in Client::route()?.dump(request, &GetNetconf)? {
        let added = filters.add(&reply);
        added.map_err(|source| NetlinkError::Malformed { request, source })?;
    }
    Ok(filters)
}

/// The request for IPv4. The packet library has no type for it.
#[derive(Clone, Copy, Debug)]
struct GetNetconf;

impl NetlinkSerializable for GetNetconf {
    fn message_type(&self) -> u16 {
        RTM_GETNETCONF
    }

    fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.fill(0);
        if let Some(family) = buffer.first_mut() {
            *family = libc::AF_INET as u8;
        }
    }
}

impl NetlinkDeserializable for GetNetconf {
    type Error = DecodeError;

    fn deserialize(_: &NetlinkHeader, _: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

impl From<GetNetconf> for NetlinkPayload<GetNetconf> {
    fn from(message: GetNetconf) -> Self {
        Self::InnerMessage(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ifindex: i32, filter: u32) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0];
        for (kind, value) in [(NETCONFA_IFINDEX, ifindex as u32), (NETCONFA_RP_FILTER, filter)] {
            bytes.extend(8_u16.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn the_larger_value_of_the_interface_and_of_all_applies() {
        for (all, own, effective) in [(0, 1, 1), (1, 0, 1), (1, 2, 2), (2, 1, 2), (0, 0, 0)] {
            let mut filters = ReversePathFilters::default();
            filters.add(&message(NETCONFA_IFINDEX_ALL, all)).unwrap();
            filters.add(&message(7, own)).unwrap();
            // The defaults of new interfaces.
            filters.add(&message(-2, 2)).unwrap();
            assert_eq!(filters.effective(7), effective, "{all} {own}");
            assert_eq!(filters.effective(8), all);
        }
    }

    #[test]
    fn a_message_that_is_cut_short_is_an_error_or_nothing() {
        let whole = message(7, 1);
        for length in 0..whole.len() {
            let mut filters = ReversePathFilters::default();
            let _ = filters.add(&whole[..length]);
            assert_eq!(filters, ReversePathFilters::default());
        }
    }
}
