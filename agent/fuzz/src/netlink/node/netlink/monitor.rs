//! What the monitor may make of events.

use self::{
    event::{Decode, Event},
    wakes::Origin,
};
use super::{GENERIC, reply::Messages, unknown::with_unknown};

#[path = "../../../../../src/node/netlink/monitor/event.rs"]
mod event;
#[path = "../../../../../src/node/netlink/monitor/wakes.rs"]
mod wakes;

/// The host's namespace, and those of pods.
const NAMESPACES: [Option<i32>; 3] = [None, Some(0), Some(7)];

/// Checks one message as an event.
pub(super) fn check(kind: u16, payload: &[u8]) {
    for namespace in NAMESPACES {
        match (event::route(kind, payload, namespace), namespace) {
            (Event::Change(origin) | Event::Address(_, origin), Some(id)) => {
                assert_eq!(origin, Origin::Namespace(id), "a pod's event");
            }
            (Event::Address(..) | Event::Nothing, None) => panic!("a change of the host is left out"),
            (Event::Change(_), None) | (Event::Nothing, Some(_)) => {}
        }
    }
    let event = event::netdev(kind, payload, None);
    if let (Event::Change(Origin::Interface(_)), Some(longer)) = (event, with_unknown(payload, GENERIC, &[]))
    {
        assert_eq!(event::netdev(kind, &longer, None), event);
    }
}

/// Checks a datagram as an event: of several messages, the kernel sends none.
pub(super) fn check_datagram(datagram: &[u8]) {
    for decode in [event::route as Decode, event::netdev] {
        for namespace in NAMESPACES {
            let event = event::event(datagram, namespace, decode);
            let expected = match Messages(datagram).next() {
                Some(Ok(message)) => decode(message.message_type(), message.payload(), namespace),
                Some(Err(_)) | None => Event::Change(Origin::Lost),
            };
            assert_eq!(event, expected);
        }
    }
}
