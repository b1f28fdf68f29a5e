//! What a reply must come to: compared with a reader that knows only offsets.

use std::ops::ControlFlow;

use super::{
    MESSAGE_HEADER, NetlinkError,
    reply::{Listing, Reply},
};

// include/uapi/linux/netlink.h
const NLM_F_MULTI: u16 = 2;
const NLM_F_DUMP_INTR: u16 = 16;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// How a reply ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Listed(Listing),
    Refused,
    Malformed,
    /// It goes on in another datagram.
    Open,
}

/// The objects of a reply, and its end.
type Outcome<'a> = (Vec<&'a [u8]>, End);

/// Checks a datagram as the reply to the request of its first message: received at once, one message at a
/// time, and until an object is not wanted.
pub(super) fn check(datagram: &[u8]) {
    let Some(sequence) = word(datagram, 8) else {
        return;
    };
    for wanted in [1, usize::MAX] {
        let expected = expected(datagram, sequence, wanted);
        assert_eq!(received(&[datagram], sequence, wanted), expected);
        assert_eq!(received(&parts(datagram), sequence, wanted), expected);
    }
}

fn received<'a>(datagrams: &[&'a [u8]], sequence: u32, wanted: usize) -> Outcome<'a> {
    let mut objects = Vec::new();
    let mut reply = Reply::new("a request", sequence);
    for datagram in datagrams {
        let taken = reply.take(datagram, |object| {
            objects.push(within(datagram, object));
            if objects.len() < wanted {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        let end = match taken {
            Ok(Some(listing)) => End::Listed(listing),
            Ok(None) => continue,
            Err(NetlinkError::Refused { source, .. }) => {
                assert_ne!(source.raw_os_error(), Some(0), "a refusal without an errno");
                End::Refused
            }
            Err(_) => End::Malformed,
        };
        return (objects, end);
    }
    (objects, End::Open)
}

/// Returns the same bytes, for the datagram's lifetime.
fn within<'a>(datagram: &'a [u8], object: &[u8]) -> &'a [u8] {
    let at = object.as_ptr() as usize - datagram.as_ptr() as usize;
    &datagram[at..][..object.len()]
}

fn expected(datagram: &[u8], sequence: u32, wanted: usize) -> Outcome<'_> {
    let mut objects = Vec::new();
    let mut listing = Listing::Whole;
    for part in parts(datagram) {
        let Some(length) = length(part) else {
            return (objects, End::Malformed);
        };
        let payload = &part[MESSAGE_HEADER..length];
        let (kind, flags) = (half(part, 4), half(part, 6));
        if word(part, 8) != Some(sequence) {
            continue;
        }
        if flags & NLM_F_DUMP_INTR != 0 {
            listing = Listing::Changing;
        }
        match kind {
            NLMSG_NOOP => {}
            NLMSG_ERROR | NLMSG_DONE => {
                let end = match word(payload, 0) {
                    Some(0) => End::Listed(listing),
                    Some(_) => End::Refused,
                    None if kind == NLMSG_DONE => End::Listed(listing),
                    None => End::Malformed,
                };
                return (objects, end);
            }
            _ => objects.push(payload),
        }
        if objects.len() == wanted {
            return (objects, End::Listed(Listing::Cut));
        }
        if flags & NLM_F_MULTI == 0 {
            return (objects, End::Listed(listing));
        }
    }
    (objects, End::Open)
}

/// Cuts a datagram into messages; what is none is the last part.
fn parts(mut datagram: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while !datagram.is_empty() {
        let length = length(datagram).unwrap_or(datagram.len());
        let (part, rest) = datagram.split_at(length.next_multiple_of(4).min(datagram.len()));
        parts.push(part);
        datagram = rest;
    }
    parts
}

/// Returns the length of the message at the beginning, if it is there.
fn length(bytes: &[u8]) -> Option<usize> {
    let length = word(bytes, 0)? as usize;
    (MESSAGE_HEADER..=bytes.len()).contains(&length).then_some(length)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().expect("four bytes")))
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}
