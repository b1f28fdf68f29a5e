//! Lists the connections that the node's connection tracking knows (ctnetlink,
//! `net/netfilter/nf_conntrack_netlink.c`).

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    ops::ControlFlow,
};

use netlink_packet_core::{DecodeError, ParseableParametrized};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterProtoFamily,
    conntrack::{
        ConntrackAttribute, ConntrackMessage, IPTuple, ProtoInfo, ProtoInfoTCP, ProtoTuple, Status,
        Tuple as Attribute,
    },
};
use xdp_core::parse::protocol::UDP;
use xdp_plan::connections::{ConntrackEntry, Tuple, has_notes};

use crate::node::netlink::{NetlinkError, client::Client};

/// Length of `struct nfgenmsg` (include/uapi/linux/netfilter/nfnetlink.h).
const HEADER_LEN: usize = 4;
/// `IPCTNL_MSG_CT_NEW`: the type of each entry of a list.
const CT_NEW: u8 = 0;

/// The most entries of each kind that are kept: more than all parts of the data path's table hold.
const MOST: usize = 1 << 18;

// include/uapi/linux/netfilter/nf_conntrack_tcp.h
const SYN_RECV: u8 = 2;
const TIME_WAIT: u8 = 7;
const CLOSE: u8 = 8;
/// `IP_CT_TCP_FLAG_BE_LIBERAL`, in both directions: a connection that was picked up (`tcp_new`), or
/// offloaded.
const BE_LIBERAL: u8 = 8;

/// Lists the connections from these addresses, and those to them. Of connections that begin with a handshake,
/// these are answered: a flood from outside makes others. Empty if the kernel tracks no connections.
pub(crate) fn entries(of: &BTreeSet<IpAddr>) -> Result<Vec<ConntrackEntry>, NetlinkError> {
    let request = "IPCTNL_MSG_CT_GET";
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
    let message = NetfilterMessage::new(header, ConntrackMessage::Get(Vec::new()));
    let (mut opened, mut accepted) = (Vec::new(), Vec::new());
    let listed = Client::netfilter().and_then(|mut client| {
        client.list(request, message, |payload| {
            if let Ok(Some(entry)) = decode(payload) {
                if of.contains(&entry.original.source.ip()) {
                    opened.extend((opened.len() < MOST).then_some(entry));
                } else if of.contains(&entry.reply.source.ip()) && (entry.protocol == UDP || entry.seen_reply)
                {
                    accepted.extend((accepted.len() < MOST).then_some(entry));
                }
            }
            ControlFlow::Continue(())
        })
    });
    match listed {
        Ok(_) => {
            opened.append(&mut accepted);
            Ok(opened)
        }
        // Without nfnetlink there is no such protocol; without ctnetlink it has no such subsystem
        // (`nfnetlink_rcv_msg`).
        Err(error) if matches!(error.errno(), Some(libc::EPROTONOSUPPORT | libc::EINVAL)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Returns `None` for protocols without ports, and for connections that have ended.
pub(super) fn decode(payload: &[u8]) -> Result<Option<ConntrackEntry>, DecodeError> {
    let attributes = payload.get(HEADER_LEN..).unwrap_or_default();
    let ConntrackMessage::New(attributes) = ConntrackMessage::parse_with_param(attributes, CT_NEW)? else {
        return Ok(None);
    };
    let (mut original, mut reply, mut seen_reply) = (None, None, false);
    let mut tcp = Tcp::default();
    for attribute in &attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(parts) => original = tuple(parts),
            ConntrackAttribute::CtaTupleReply(parts) => reply = tuple(parts),
            ConntrackAttribute::CtaStatus(status) => seen_reply = status.contains(Status::SeenReply),
            ConntrackAttribute::CtaProtoInfo(info) => tcp = Tcp::of(info),
            _ => {}
        }
    }
    let (Some((protocol, original)), Some((_, reply))) = (original, reply) else {
        return Ok(None);
    };
    Ok((!tcp.has_ended()).then_some(ConntrackEntry {
        protocol,
        original,
        reply,
        seen_opening: !tcp.is_picked_up(),
        seen_reply: seen_reply && tcp.state != Some(SYN_RECV),
    }))
}

/// What is known of a TCP connection.
#[derive(Default)]
struct Tcp {
    state: Option<u8>,
    flags: [u8; 2],
}

impl Tcp {
    fn of(info: &[ProtoInfo]) -> Self {
        let mut tcp = Self::default();
        for info in info {
            let ProtoInfo::TCP(info) = info else { continue };
            for info in info {
                match info {
                    ProtoInfoTCP::State(state) => tcp.state = Some(*state),
                    ProtoInfoTCP::OriginalFlags(flags) => tcp.flags[0] = flags.flags,
                    ProtoInfoTCP::ReplyFlags(flags) => tcp.flags[1] = flags.flags,
                    _ => {}
                }
            }
        }
        tcp
    }

    const fn has_ended(&self) -> bool {
        matches!(self.state, Some(TIME_WAIT | CLOSE))
    }

    const fn is_picked_up(&self) -> bool {
        let [original, reply] = self.flags;
        original & reply & BE_LIBERAL != 0
    }
}

/// Returns the protocol and both ends.
fn tuple(parts: &[Attribute]) -> Option<(u8, Tuple)> {
    let (mut source, mut destination) = (None, None);
    let (mut protocol, mut from, mut to) = (None, None, None);
    for part in parts {
        match part {
            Attribute::Ip(addresses) => {
                for address in addresses {
                    match address {
                        IPTuple::SourceAddress(address) => source = Some(*address),
                        IPTuple::DestinationAddress(address) => destination = Some(*address),
                        _ => {}
                    }
                }
            }
            Attribute::Proto(fields) => {
                for field in fields {
                    match field {
                        ProtoTuple::Protocol(number) => protocol = Some(u8::from(*number)),
                        ProtoTuple::SourcePort(port) => from = Some(*port),
                        ProtoTuple::DestinationPort(port) => to = Some(*port),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let protocol = protocol.filter(|protocol| has_notes(*protocol))?;
    let tuple = Tuple {
        source: SocketAddr::new(source?, from?),
        destination: SocketAddr::new(destination?, to?),
    };
    Some((protocol, tuple))
}
