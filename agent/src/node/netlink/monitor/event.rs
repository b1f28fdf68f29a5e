//! Decodes events as far as it takes to tell where they come from.

use std::{io::IoSliceMut, net::IpAddr, os::fd::AsRawFd as _};

use netlink_packet_core::{DecodeError, NlasIterator, parse_i32, parse_u32};
use netlink_sys::Socket;
use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg},
};

use super::wakes::Origin;
use crate::node::netlink::{address, link, reply::Messages};

// include/uapi/linux/rtnetlink.h
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWNETCONF: u16 = 80;
const RTM_DELNETCONF: u16 = 81;
const RTM_NEWNSID: u16 = 88;
const RTM_DELNSID: u16 = 89;
/// `struct genlmsghdr`.
const GENL_HEADER_LEN: usize = 4;
/// `NETDEV_A_DEV_IFINDEX`.
const NETDEV_IFINDEX: u16 = 1;
/// `NETLINK_LISTEN_ALL_NSID`, also the type of its control message: the id of the event's namespace.
const LISTEN_ALL_NSID: i32 = 8;
/// Longer events are cut, and count as a change.
const BUFFER: usize = 1 << 15;

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Anything that the agent reads.
    Change(Origin),
    /// An address in a pod came or went.
    Address(IpAddr, Origin),
    /// Nothing that the agent reads.
    Nothing,
}

/// Decodes one message: its type and its payload, and the id of its namespace if that is another one.
pub(super) type Decode = fn(u16, &[u8], Option<i32>) -> Event;

pub(super) fn buffer() -> Vec<u8> {
    vec![0; BUFFER]
}

/// Receives the next event. `None`: there is none at the moment.
pub(super) fn receive(socket: &Socket, buffer: &mut [u8], decode: Decode) -> Option<Event> {
    loop {
        let mut control = cmsg_space!(i32);
        let mut parts = [IoSliceMut::new(buffer)];
        let (length, namespace) = match recvmsg::<()>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(message) => {
                let namespace = message.cmsgs().ok().and_then(|mut all| all.find_map(namespace));
                (message.bytes, namespace)
            }
            Err(Errno::EINTR) => continue,
            Err(Errno::ENOBUFS) => return Some(Event::Change(Origin::Lost)),
            Err(_) => return None,
        };
        return Some(event(buffer.get(..length).unwrap_or_default(), namespace, decode));
    }
}

fn namespace(message: ControlMessageOwned) -> Option<i32> {
    let ControlMessageOwned::Unknown(unknown) = message else {
        return None;
    };
    let header = unknown.cmsg_header;
    let is_id = (header.cmsg_level, header.cmsg_type) == (libc::SOL_NETLINK, LISTEN_ALL_NSID);
    let id = unknown.data_bytes.get(..4).filter(|_| is_id)?;
    parse_i32(id).ok()
}

/// The kernel sends one message per event. What cannot be decoded counts as a change.
pub(super) fn event(bytes: &[u8], namespace: Option<i32>, decode: Decode) -> Event {
    match Messages(bytes).next() {
        Some(Ok(message)) => decode(message.message_type(), message.payload(), namespace),
        Some(Err(_)) | None => Event::Change(Origin::Lost),
    }
}

/// Decodes an event of links, addresses and namespace ids.
pub(super) fn route(kind: u16, payload: &[u8], namespace: Option<i32>) -> Event {
    let decoded = match kind {
        RTM_NEWLINK | RTM_DELLINK => link(payload, namespace),
        RTM_NEWADDR | RTM_DELADDR => address(payload, namespace),
        // Ids that a pod gives to other namespaces, and its settings such as `rp_filter`, mean nothing here.
        RTM_NEWNSID | RTM_DELNSID | RTM_NEWNETCONF | RTM_DELNETCONF if namespace.is_some() => {
            Ok(Event::Nothing)
        }
        _ => Ok(Event::Change(namespace.map_or(Origin::Host, Origin::Namespace))),
    };
    decoded.unwrap_or(Event::Change(namespace.map_or(Origin::Lost, Origin::Namespace)))
}

/// In a pod, only interfaces whose other end is elsewhere are read. A change of a pair's end on the host may
/// have its cause in the pod.
fn link(payload: &[u8], namespace: Option<i32>) -> Result<Event, DecodeError> {
    let link = link::decode(payload)?;
    Ok(match (namespace, link.link_netns) {
        (Some(_), None) => Event::Nothing,
        (Some(id), Some(_)) => Event::Change(Origin::Namespace(id)),
        (None, Some(id)) if id >= 0 => Event::Change(Origin::Namespace(id)),
        (None, _) => Event::Change(Origin::Interface(link.ifindex)),
    })
}

fn address(payload: &[u8], namespace: Option<i32>) -> Result<Event, DecodeError> {
    let (ifindex, address) = address::decode(payload)?;
    Ok(match (namespace, address) {
        (Some(id), Some(address)) => Event::Address(address, Origin::Namespace(id)),
        (Some(_), None) => Event::Nothing,
        (None, _) => Event::Change(Origin::Interface(ifindex)),
    })
}

/// Decodes an event of XDP features, which only this namespace's interfaces have. A pod can change those of
/// its pair.
pub(super) fn netdev(_: u16, payload: &[u8], _: Option<i32>) -> Event {
    let attributes = NlasIterator::new(payload.get(GENL_HEADER_LEN..).unwrap_or_default());
    let index = |attribute: Result<netlink_packet_core::NlaBuffer<&[u8]>, DecodeError>| {
        let attribute = attribute.ok()?;
        let value = Some(attribute.value()).filter(|_| attribute.kind() == NETDEV_IFINDEX)?;
        parse_u32(value).ok()
    };
    let index = attributes.take_while(Result::is_ok).find_map(index);
    Event::Change(index.map_or(Origin::Lost, Origin::Interface))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::node::netlink::tests::attribute;

    fn of_link(other_end: Option<i32>) -> Vec<u8> {
        let mut payload = vec![0; 16];
        payload[4..8].copy_from_slice(&7u32.to_ne_bytes());
        payload.extend(
            other_end
                .map(|id| attribute(37, &id.to_ne_bytes()))
                .unwrap_or_default(),
        );
        payload
    }

    fn of_address() -> Vec<u8> {
        let header = [2, 32, 0, 0, 9, 0, 0, 0].to_vec();
        [header, attribute(2, &[10, 2, 0, 5])].concat()
    }

    #[test]
    fn a_pairs_ends_are_changes_of_the_pods_namespace() {
        let of_pod = Event::Change(Origin::Namespace(4));
        assert_eq!(route(RTM_NEWLINK, &of_link(Some(0)), Some(4)), of_pod);
        assert_eq!(route(RTM_NEWLINK, &of_link(Some(4)), None), of_pod);
    }

    #[test]
    fn what_a_pod_does_to_other_interfaces_and_ids_means_nothing() {
        assert_eq!(route(RTM_NEWLINK, &of_link(None), Some(4)), Event::Nothing);
        assert_eq!(route(RTM_NEWNSID, &[], Some(4)), Event::Nothing);
        assert_eq!(route(RTM_NEWNSID, &[], None), Event::Change(Origin::Host));
        assert_eq!(
            route(RTM_NEWLINK, &of_link(None), None),
            Event::Change(Origin::Interface(7))
        );
    }

    #[test]
    fn an_event_of_an_unknown_type_is_of_its_namespace() {
        let of_pod = Event::Change(Origin::Namespace(4));
        assert_eq!(route(1000, &[], Some(4)), of_pod);
        assert_eq!(route(1000, &[], None), Event::Change(Origin::Host));
    }

    #[test]
    fn an_address_in_a_pod_is_named_and_one_of_the_host_is_a_change() {
        let address = IpAddr::from([10, 2, 0, 5]);
        assert_eq!(
            route(RTM_NEWADDR, &of_address(), Some(4)),
            Event::Address(address, Origin::Namespace(4))
        );
        assert_eq!(
            route(RTM_DELADDR, &of_address(), None),
            Event::Change(Origin::Interface(9))
        );
    }

    #[test]
    fn features_are_those_of_an_interface() {
        let payload = [vec![0; 4], attribute(1, &9u32.to_ne_bytes())].concat();
        assert_eq!(netdev(30, &payload, None), Event::Change(Origin::Interface(9)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoders_panic(
            bytes in vec(any::<u8>(), 0..96),
            kind in prop_oneof![Just(RTM_NEWLINK), Just(RTM_NEWADDR), any::<u16>()],
            namespace in proptest::option::of(any::<i32>()),
        ) {
            for decode in [route as Decode, netdev] {
                let _ = event(&bytes, namespace, decode);
                let _ = decode(kind, &bytes, namespace);
            }
        }

        /// A pod cannot cause an event that is not its own, whatever it sends.
        #[test]
        fn an_event_of_a_pod_has_no_other_origin(
            bytes in vec(any::<u8>(), 0..96),
            kind in prop_oneof![Just(RTM_NEWLINK), Just(RTM_DELADDR), Just(RTM_DELNSID), any::<u16>()],
            id in 0_i32..,
        ) {
            let own = Origin::Namespace(id);
            match route(kind, &bytes, Some(id)) {
                Event::Change(origin) | Event::Address(_, origin) => prop_assert_eq!(origin, own),
                Event::Nothing => {}
            }
        }
    }
}
