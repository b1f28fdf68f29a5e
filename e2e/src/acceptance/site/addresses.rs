//! The addresses on the wire.

use std::net::{IpAddr, SocketAddr};

/// The node's addresses on the wire; those of the peer follow them.
const NODE: [&str; 2] = ["10.1.0.1", "fd01::1"];
const PEER: [&str; 2] = ["10.1.0.2", "fd01::2"];

fn addresses(of: [&str; 2]) -> [(IpAddr, u8); 2] {
    [(parse(of[0]), 24), (parse(of[1]), 64)]
}

fn parse(address: &str) -> IpAddr {
    address.parse().expect("a constant address")
}

pub(in crate::acceptance) fn node_addresses() -> [(IpAddr, u8); 2] {
    addresses(NODE)
}

pub(super) fn peer_addresses() -> [(IpAddr, u8); 2] {
    addresses(PEER)
}

/// The node's address of the same family.
pub(super) fn node_of(ip: IpAddr) -> IpAddr {
    parse(NODE[usize::from(ip.is_ipv6())])
}

/// The peer's address of the same family.
pub(in crate::acceptance) fn peer_of(ip: IpAddr) -> IpAddr {
    parse(PEER[usize::from(ip.is_ipv6())])
}

pub(in crate::acceptance) fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}
