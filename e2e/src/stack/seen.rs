//! Recognises the frames of cases, and the answers to them.

mod read;

use std::{collections::BTreeMap, net::IpAddr};

use self::read::{numbers, read};
use super::host::Place;

/// What arrived somewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    pub(super) place: Place,
    /// Whether a pod's socket received it, and not only its interface.
    pub(super) by_socket: bool,
    /// VLAN tags.
    pub(super) tags: usize,
    pub(super) packet: Option<SeenPacket>,
}

/// The IP packet in a frame.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SeenPacket {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    /// IPv4: the protocol; IPv6: the first next header.
    pub(super) protocol: u8,
    /// ICMP: type and code.
    pub(super) icmp: Option<[u8; 2]>,
}

/// How often what was seen, by the number of the frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Observations(BTreeMap<u32, BTreeMap<Seen, usize>>);

impl Observations {
    /// Notes a frame that arrived.
    pub(super) fn note(&mut self, place: Place, frame: &[u8]) {
        let (seen, ids) = read(place, frame);
        for id in ids {
            self.add(id, seen.clone());
        }
    }

    /// Notes a datagram that a pod's socket received.
    pub(super) fn note_datagram(&mut self, place: Place, payload: &[u8]) {
        let seen = Seen {
            place,
            by_socket: true,
            tags: 0,
            packet: None,
        };
        for id in numbers(payload) {
            self.add(id, seen.clone());
        }
    }

    fn add(&mut self, id: u32, seen: Seen) {
        *self.0.entry(id).or_default().entry(seen).or_default() += 1;
    }

    /// Returns what was seen of a frame more often than in `other`.
    pub(super) fn beyond(&self, other: &Self, id: u32) -> Vec<Seen> {
        let mine = self.0.get(&id).into_iter().flatten();
        mine.filter(|(seen, times)| **times > other.times(id, seen))
            .map(|(seen, _)| seen.clone())
            .collect()
    }

    fn times(&self, id: u32, seen: &Seen) -> usize {
        self.0
            .get(&id)
            .and_then(|all| all.get(seen))
            .copied()
            .unwrap_or(0)
    }

    /// Returns how many frames were seen at all.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::{
        case::{Case, Oddity, Step, Tags, Upper},
        host::Host,
        oddity::frames,
    };

    fn frame(v6: bool, upper: Upper, oddities: &[Oddity], id: u32) -> Vec<u8> {
        let step = Step {
            at: Place::Wire0,
            from: Host::Client,
            to: Host::Server,
            upper,
            oddities: oddities.to_vec(),
        };
        let steps = vec![step];
        let case = Case {
            port: 7000,
            v6,
            steps,
        };
        frames(&case, 4000, id).remove(0)
    }

    #[test]
    fn a_frame_is_recognised_by_its_payload_and_without_one_by_its_header() {
        for v6 in [false, true] {
            for oddities in [
                &[][..],
                &[Oddity::Cut(4)],
                &[Oddity::Tags(Tags::KnownKnown)],
                &[Oddity::Padding(40), Oddity::TimeToLive(1)],
            ] {
                for upper in [Upper::Udp, Upper::Tcp(2), Upper::Echo, Upper::Esp] {
                    let frame = frame(v6, upper, oddities, 4711);
                    let (seen, ids) = read(Place::Other, &frame);
                    assert_eq!(ids, [4711], "{frame:02x?}");
                    let packet = seen.packet.unwrap();
                    assert_eq!(packet.to, Host::Server.address(v6));
                }
            }
        }
    }

    #[test]
    fn inclusion_is_that_of_multisets_by_frame_place_and_kind() {
        let frames = [1, 2].map(|id| frame(false, Upper::Udp, &[], id));
        let [mut with, mut without] = [(); 2].map(|()| Observations::default());
        with.note(Place::Server, &frames[0]);
        without.note(Place::Server, &frames[0]);
        without.note(Place::Other, &frames[1]);
        assert_eq!(with.beyond(&without, 1), []);
        assert_eq!(with.beyond(&without, 2), []);
        with.note(Place::Server, &frames[0]);
        assert_eq!(with.beyond(&without, 1).len(), 1, "once more than the stack");
        with.note(Place::Server, &frames[1]);
        assert_eq!(with.beyond(&without, 2).len(), 1, "at another place");
    }
}
