//! Requests to the kernel's route netlink, one at a time, each acknowledged.

use std::{io, net::IpAddr};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkMessage},
    neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use netlink_sys::{Socket, SocketAddr, protocols};

use crate::{LabError, Namespace};

/// Adds an object; fails if it exists.
pub(crate) const ADD: u16 = NLM_F_CREATE | NLM_F_EXCL;
/// Adds an object or replaces it.
pub(crate) const SET: u16 = NLM_F_CREATE | NLM_F_REPLACE;

/// A netlink socket of a namespace. Any thread may use it.
pub(crate) struct Netlink {
    socket: Socket,
    namespace: String,
    sequence: u32,
}

/// A route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    /// `None` is the default route.
    pub(crate) to: Option<IpAddr>,
    pub(crate) via: Option<IpAddr>,
    pub(crate) ifindex: u32,
    /// The kernel prefers the lowest of routes to one destination.
    pub(crate) metric: u32,
    pub(crate) is_v6: bool,
}

impl Netlink {
    pub(crate) fn open(namespace: &Namespace) -> Result<Self, LabError> {
        Ok(Self {
            socket: namespace
                .run(connect)?
                .map_err(namespace.socket_failed("open netlink"))?,
            namespace: namespace.name().to_owned(),
            sequence: 0,
        })
    }

    /// Opens a socket of the calling thread's namespace, which may not belong to a lab.
    pub(crate) fn open_outside() -> Result<Self, LabError> {
        let namespace = "outside the lab".to_owned();
        let socket = connect().map_err(|source| LabError::Socket {
            namespace: namespace.clone(),
            action: "open netlink".to_owned(),
            source,
        })?;
        Ok(Self {
            socket,
            namespace,
            sequence: 0,
        })
    }

    /// Requests a change; `what` names it in errors.
    pub(crate) fn request(
        &mut self,
        what: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), LabError> {
        let refused = |source| LabError::Netlink {
            namespace: self.namespace.clone(),
            request: what.to_owned(),
            source,
        };
        let bytes =
            Self::send(&self.socket, &mut self.sequence, message, flags | NLM_F_ACK).map_err(refused)?;
        let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes);
        match reply.map(|reply| reply.payload) {
            Ok(NetlinkPayload::Error(error)) => match error.code {
                None => Ok(()),
                Some(code) => Err(refused(io::Error::from_raw_os_error(code.get().abs()))),
            },
            _ => Err(self.malformed(what)),
        }
    }

    /// Requests a change, and returns the kernel's error with its text, if it refused.
    pub(crate) fn explained(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> io::Result<Result<(), (io::Error, String)>> {
        self.socket.set_ext_ack(true)?;
        // Otherwise the answer has the whole request before the text.
        self.socket.set_cap_ack(true)?;
        let bytes = Self::send(&self.socket, &mut self.sequence, message, NLM_F_ACK)?;
        let errno = bytes.get(ERROR).and_then(|errno| errno.try_into().ok());
        match errno.map(i32::from_ne_bytes).ok_or(io::ErrorKind::InvalidData)? {
            0 => Ok(Ok(())),
            errno => {
                let error = io::Error::from_raw_os_error(errno.abs());
                Ok(Err((error, text(bytes.get(TEXTS..).unwrap_or_default()))))
            }
        }
    }

    /// Returns the interface of this name, if it exists.
    pub(crate) fn link(&mut self, name: &str) -> Result<Option<LinkMessage>, LabError> {
        let what = format!("look up the interface `{name}`");
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let message = RouteNetlinkMessage::GetLink(message);
        let failed = |source| LabError::Netlink {
            namespace: self.namespace.clone(),
            request: what.clone(),
            source,
        };
        let bytes = Self::send(&self.socket, &mut self.sequence, message, 0).map_err(failed)?;
        let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes);
        match reply.map(|reply| reply.payload) {
            Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link))) => Ok(Some(link)),
            Ok(NetlinkPayload::Error(error)) => {
                match io::Error::from_raw_os_error(error.code.map_or(0, |code| code.get().abs())) {
                    absent if absent.raw_os_error() == Some(libc::ENODEV) => Ok(None),
                    other => Err(failed(other)),
                }
            }
            _ => Err(self.malformed(&what)),
        }
    }

    fn send(
        socket: &Socket,
        sequence: &mut u32,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<u8>> {
        *sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = *sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        socket.send(&bytes, 0)?;
        socket.recv_from_full().map(|(bytes, _)| bytes)
    }

    fn malformed(&self, what: &str) -> LabError {
        LabError::Malformed {
            namespace: self.namespace.clone(),
            request: what.to_owned(),
        }
    }

    pub(crate) fn set_link(&mut self, what: &str, message: LinkMessage) -> Result<(), LabError> {
        self.request(what, RouteNetlinkMessage::SetLink(message), 0)
    }

    pub(crate) fn add_link(&mut self, what: &str, message: LinkMessage) -> Result<(), LabError> {
        self.request(what, RouteNetlinkMessage::NewLink(message), ADD)
    }

    pub(crate) fn set_address(&mut self, ifindex: u32, ip: IpAddr, prefix: u8) -> Result<(), LabError> {
        let message = RouteNetlinkMessage::NewAddress(address(ifindex, ip, prefix));
        self.request(&format!("add the address {ip}/{prefix}"), message, SET)
    }

    pub(crate) fn remove_address(&mut self, ifindex: u32, ip: IpAddr, prefix: u8) -> Result<(), LabError> {
        let message = RouteNetlinkMessage::DelAddress(address(ifindex, ip, prefix));
        self.request(&format!("remove the address {ip}/{prefix}"), message, 0)
    }

    pub(crate) fn set_route(&mut self, route: Route) -> Result<(), LabError> {
        let message = RouteNetlinkMessage::NewRoute(route.message());
        self.request(&format!("add the route {route:?}"), message, SET)
    }

    pub(crate) fn remove_route(&mut self, route: Route) -> Result<(), LabError> {
        let message = RouteNetlinkMessage::DelRoute(route.message());
        self.request(&format!("remove the route {route:?}"), message, 0)
    }

    /// Adds a permanent neighbour, which the kernel never resolves.
    pub(crate) fn set_neighbour(&mut self, ifindex: u32, ip: IpAddr, mac: [u8; 6]) -> Result<(), LabError> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(ip);
        message.header.ifindex = ifindex;
        message.header.state = NeighbourState::Permanent;
        message.attributes = vec![
            NeighbourAttribute::Destination(ip.into()),
            NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
        ];
        let message = RouteNetlinkMessage::NewNeighbour(message);
        self.request(&format!("add the neighbour {ip}"), message, SET)
    }
}

/// Where `struct nlmsgerr` has the errno, and where its attributes begin: behind the header, the errno, and
/// the header of the request.
const ERROR: std::ops::Range<usize> = 16..20;
const TEXTS: usize = 36;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// Returns the text among the attributes, or nothing.
fn text(mut attributes: &[u8]) -> String {
    while let [a, b, c, d, ..] = *attributes {
        let (length, kind) = (
            usize::from(u16::from_ne_bytes([a, b])),
            u16::from_ne_bytes([c, d]),
        );
        let Some(value) = attributes.get(4..length) else {
            break;
        };
        if kind == NLMSGERR_ATTR_MSG {
            return String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    String::new()
}

fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(protocols::NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

impl Route {
    fn message(self) -> RouteMessage {
        let mut message = RouteMessage::default();
        let header = &mut message.header;
        header.address_family = if self.is_v6 {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        header.table = RouteHeader::RT_TABLE_MAIN;
        header.protocol = RouteProtocol::Static;
        header.kind = RouteType::Unicast;
        header.scope = if self.via.is_some() || self.is_v6 {
            RouteScope::Universe
        } else {
            RouteScope::Link
        };
        if let Some(ip) = self.to {
            header.destination_prefix_length = full_prefix(ip);
            message.attributes.push(RouteAttribute::Destination(ip.into()));
        }
        if let Some(gateway) = self.via {
            message.attributes.push(RouteAttribute::Gateway(gateway.into()));
        }
        message.attributes.push(RouteAttribute::Oif(self.ifindex));
        message.attributes.push(RouteAttribute::Priority(self.metric));
        message
    }
}

/// A message that changes one interface.
pub(crate) fn link_change(ifindex: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.attributes = attributes;
    message
}

/// A message that sets an interface up or down.
pub(crate) fn link_up(ifindex: u32, up: bool) -> LinkMessage {
    let mut message = link_change(ifindex, Vec::new());
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    message
}

fn address(ifindex: u32, ip: IpAddr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(ip);
    message.header.prefix_len = prefix;
    message.header.index = ifindex;
    message.attributes = vec![AddressAttribute::Address(ip), AddressAttribute::Local(ip)];
    if ip.is_ipv6() {
        message
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message
}

/// The prefix length of one address.
pub(crate) fn full_prefix(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}
