//! Lists the sockets of the calling thread's network namespace (`net/ipv4/inet_diag.c`).

use std::{net::SocketAddr, ops::ControlFlow};

use netlink_packet_core::{DecodeError, Parseable};
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, SockDiagMessage,
    inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags},
};
use xdp_core::parse::protocol::{SCTP, TCP, UDP};
use xdp_plan::connections::PodSocket;

use crate::node::netlink::{NetlinkError, client::Client};

// include/net/tcp_states.h
const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const LISTEN: u8 = 10;
const CLOSING: u8 = 11;

/// Lists the sockets that are connected, and those that take packets of everybody.
pub(crate) fn sockets() -> Result<Vec<PodSocket>, NetlinkError> {
    let mut client = Client::sock_diag()?;
    let mut found = Vec::new();
    for protocol in [TCP, UDP, SCTP] {
        for family in [AF_INET, AF_INET6] {
            list(&mut client, protocol, family, &mut found)?;
        }
    }
    Ok(found)
}

fn list(
    client: &mut Client,
    protocol: u8,
    family: u8,
    found: &mut Vec<PodSocket>,
) -> Result<(), NetlinkError> {
    let request = "SOCK_DIAG_BY_FAMILY";
    let message = SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: SocketId::new_v4(),
    });
    let listed = client.list(request, message, |payload| {
        found.extend(decode(protocol, payload).ok().flatten());
        ControlFlow::Continue(())
    });
    match listed {
        // The kernel knows no such sockets.
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
        listed => listed.map(drop),
    }
}

/// Returns `None` for a socket that does neither, and for one that a remote host is just opening.
pub(super) fn decode(protocol: u8, payload: &[u8]) -> Result<Option<PodSocket>, DecodeError> {
    let header = InetResponseHeader::parse(payload)?;
    let id = &header.socket_id;
    let local = SocketAddr::new(id.source_address.to_canonical(), id.source_port);
    let remote = SocketAddr::new(id.destination_address.to_canonical(), id.destination_port);
    let remote = match header.state {
        LISTEN => None,
        _ if protocol == UDP => (remote.port() != 0).then_some(remote),
        // Other numbers are those of `enum sctp_state` (net/sctp/diag.c).
        _ if protocol == SCTP && remote.port() != 0 => Some(remote),
        ESTABLISHED | SYN_SENT | FIN_WAIT1 | FIN_WAIT2 | CLOSE_WAIT | LAST_ACK | CLOSING => Some(remote),
        _ => return Ok(None),
    };
    Ok(Some(PodSocket {
        protocol,
        local,
        remote,
    }))
}
