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
    conntrack::{ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Tuple as Attribute},
};
use xdp_plan::connections::{TrackedConnection, Tuple, is_noted};

use crate::node::netlink::{NetlinkError, client::Client};

/// Length of `struct nfgenmsg` (include/uapi/linux/netfilter/nfnetlink.h).
const HEADER_LEN: usize = 4;
/// `IPCTNL_MSG_CT_NEW`: the type of each entry of a list.
const CT_NEW: u8 = 0;

/// Lists the connections from and to these addresses. Empty if the kernel tracks no connections.
pub(crate) fn connections(of: &BTreeSet<IpAddr>) -> Result<Vec<TrackedConnection>, NetlinkError> {
    let request = "IPCTNL_MSG_CT_GET";
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
    let message = NetfilterMessage::new(header, ConntrackMessage::Get(Vec::new()));
    let mut found = Vec::new();
    let listed = Client::netfilter().and_then(|mut client| {
        client.list(request, message, |payload| {
            found.extend(decode(payload).ok().flatten().filter(|entry| concerns(entry, of)));
            ControlFlow::Continue(())
        })
    });
    match listed {
        Ok(_) => Ok(found),
        // Without nfnetlink there is no such protocol; without ctnetlink it has no such subsystem
        // (`nfnetlink_rcv_msg`).
        Err(error) if matches!(error.errno(), Some(libc::EPROTONOSUPPORT | libc::EINVAL)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn concerns(entry: &TrackedConnection, of: &BTreeSet<IpAddr>) -> bool {
    [entry.original.source, entry.reply.source]
        .iter()
        .any(|end| of.contains(&end.ip()))
}

/// Returns `None` for protocols without ports.
pub(super) fn decode(payload: &[u8]) -> Result<Option<TrackedConnection>, DecodeError> {
    let attributes = payload.get(HEADER_LEN..).unwrap_or_default();
    let ConntrackMessage::New(attributes) = ConntrackMessage::parse_with_param(attributes, CT_NEW)? else {
        return Ok(None);
    };
    let (mut original, mut reply) = (None, None);
    for attribute in &attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(parts) => original = tuple(parts),
            ConntrackAttribute::CtaTupleReply(parts) => reply = tuple(parts),
            _ => {}
        }
    }
    let (Some((protocol, original)), Some((_, reply))) = (original, reply) else {
        return Ok(None);
    };
    Ok(Some(TrackedConnection {
        protocol,
        original,
        reply,
    }))
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
    let protocol = protocol.filter(|protocol| is_noted(*protocol))?;
    let tuple = Tuple {
        source: SocketAddr::new(source?, from?),
        destination: SocketAddr::new(destination?, to?),
    };
    Some((protocol, tuple))
}
