//! Lists filters of the clsact qdisc.

use netlink_packet_core::{DecodeError, parse_u32};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcHandle, TcMessage},
};

use crate::node::netlink::{NetlinkError, client::Client};

// include/uapi/linux/pkt_sched.h
const TC_H_CLSACT: u16 = 0xffff;
const TC_H_MIN_INGRESS: u16 = 0xfff2;
const TC_H_MIN_EGRESS: u16 = 0xfff3;

/// The priority and the handle of a tc filter, which identify the agent's filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcFilter {
    /// Filters run in ascending order of priority.
    pub priority: u16,
    /// The number of the filter within its priority.
    pub handle: u32,
}

/// Lists the filters in one direction of an interface in the calling thread's namespace. Without the qdisc,
/// the list is empty.
pub fn clsact_filters(ifindex: u32, egress: bool) -> Result<Vec<TcFilter>, NetlinkError> {
    let request = "RTM_GETTFILTER";
    let mut message = TcMessage::default();
    message.header.index = ifindex as i32;
    message.header.parent = TcHandle {
        major: TC_H_CLSACT,
        minor: if egress { TC_H_MIN_EGRESS } else { TC_H_MIN_INGRESS },
    };
    let replies = Client::route()?.dump(request, &RouteNetlinkMessage::GetTrafficFilter(message))?;
    let filters: Result<Vec<TcFilter>, DecodeError> = replies.iter().map(|reply| decode(reply)).collect();
    filters.map_err(|source| NetlinkError::Malformed { request, source })
}

/// Decodes `struct tcmsg`. The attributes are not needed.
pub(super) fn decode(message: &[u8]) -> Result<TcFilter, DecodeError> {
    let word = |at: usize| {
        let bytes = message.get(at..at + 4).ok_or("a filter's header is cut short");
        parse_u32(bytes.map_err(DecodeError::from)?)
    };
    Ok(TcFilter {
        handle: word(8)?,
        priority: (word(16)? >> 16) as u16,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_and_handle_are_read_from_the_header_alone() {
        let mut message = vec![0; 12];
        message[8..12].copy_from_slice(&0x7865_u32.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(0x7864_0003_u32.to_ne_bytes());
        let filter = TcFilter {
            priority: 0x7864,
            handle: 0x7865,
        };
        assert_eq!(decode(&message).unwrap(), filter);
        assert!(decode(&message[..16]).is_err());
    }
}
