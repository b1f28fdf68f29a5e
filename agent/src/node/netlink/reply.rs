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
                NLMSG_ERROR | NLMSG_DONE => {
                    done(request, message.payload())?;
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
fn done(request: &'static str, payload: &[u8]) -> Result<(), NetlinkError> {
    match payload.get(..4).map_or(Ok(0), parse_i32) {
        Ok(0) => Ok(()),
        Ok(errno) => Err(NetlinkError::Refused {
            request,
            source: io::Error::from_raw_os_error(errno.abs()),
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
