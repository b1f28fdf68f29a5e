//! Takes replies apart, as they come from a socket.

use std::{io, ops::ControlFlow};

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NetlinkBuffer,
    parse_i32,
};

use crate::node::netlink::NetlinkError;

/// How complete a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// All objects of one moment.
    Whole,
    /// The objects changed while they were listed: some may be missing.
    Changing,
    /// The receiver wanted no more.
    Cut,
}

/// A reply that is being received.
pub(super) struct Reply {
    request: &'static str,
    sequence: u32,
    listing: Listing,
}

impl Reply {
    /// Begins the reply to the request with this number.
    pub(super) fn new(request: &'static str, sequence: u32) -> Self {
        Self {
            request,
            sequence,
            listing: Listing::Whole,
        }
    }

    /// Passes on the messages of one datagram until `each` breaks. Returns `None` if the reply goes on.
    pub(super) fn take(
        &mut self,
        datagram: &[u8],
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Option<Listing>, NetlinkError> {
        let request = self.request;
        for message in Messages(datagram) {
            let message = message.map_err(|source| NetlinkError::Malformed { request, source })?;
            if message.sequence_number() != self.sequence {
                continue;
            }
            if message.flags() & NLM_F_DUMP_INTR != 0 {
                self.listing = Listing::Changing;
            }
            match message.message_type() {
                NLMSG_NOOP => {}
                kind @ (NLMSG_ERROR | NLMSG_DONE) => {
                    done(request, kind, message.payload())?;
                    return Ok(Some(self.listing));
                }
                _ if each(message.payload()).is_break() => return Ok(Some(Listing::Cut)),
                _ => {}
            }
            if message.flags() & NLM_F_MULTIPART == 0 {
                return Ok(Some(self.listing));
            }
        }
        Ok(None)
    }
}

/// Ends a reply. `NLMSG_ERROR` and `NLMSG_DONE` both begin with an errno, zero for success.
fn done(request: &'static str, kind: u16, payload: &[u8]) -> Result<(), NetlinkError> {
    let errno = match payload.get(..4) {
        None if kind == NLMSG_DONE => Ok(0),
        errno => parse_i32(errno.unwrap_or_default()),
    };
    match errno {
        Ok(0) => Ok(()),
        Ok(errno) => Err(NetlinkError::Refused {
            request,
            source: io::Error::from_raw_os_error(errno.saturating_abs()),
        }),
        Err(source) => Err(NetlinkError::Malformed { request, source }),
    }
}

/// The messages in one datagram.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<NetlinkBuffer<&'a [u8]>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let message = NetlinkBuffer::new_checked(self.0);
        self.0 = match &message {
            Ok(message) => self
                .0
                .get((message.length() as usize).next_multiple_of(4)..)
                .unwrap_or_default(),
            Err(_) => &[],
        };
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
        bytes.extend([kind, flags].map(u16::to_ne_bytes).concat());
        bytes.extend([1, 0].map(u32::to_ne_bytes).concat());
        bytes.extend(payload);
        bytes
    }

    fn take(datagram: &[u8]) -> Result<Option<Listing>, NetlinkError> {
        Reply::new("a request", 1).take(datagram, |_| ControlFlow::Continue(()))
    }

    #[test]
    fn an_error_that_is_cut_short_is_no_success() {
        let cut = message(NLMSG_ERROR, 0, &[0; 3]);
        assert!(matches!(take(&cut), Err(NetlinkError::Malformed { .. })));
    }

    #[test]
    fn the_smallest_errno_is_a_refusal() {
        let refused = message(NLMSG_ERROR, 0, &i32::MIN.to_ne_bytes());
        assert!(matches!(take(&refused), Err(NetlinkError::Refused { .. })));
    }

    #[test]
    fn an_interrupted_list_is_not_whole_in_whichever_message_the_kernel_says_so() {
        let object = message(16, NLM_F_MULTIPART | NLM_F_DUMP_INTR, &[]);
        let end = message(NLMSG_DONE, NLM_F_MULTIPART, &[0; 4]);
        let listing = take(&[object, end.clone()].concat()).unwrap();
        assert_eq!(listing, Some(Listing::Changing));
        assert_eq!(take(&end).unwrap(), Some(Listing::Whole));
    }
}
