//! What netlink may answer: whatever bytes come, no decoder panics, overflows or loops, a failed or an
//! interrupted list is not taken for a whole one, no pod causes an event that is not its own, and what a
//! message says does not change when a newer kernel adds attributes to it.
//!
//! An input is a datagram: one or more messages, as a socket returns them.
#![no_main]

mod node {
    // The agent's files name each other by this path.
    #[expect(dead_code, reason = "the requests are not sent")]
    pub(crate) mod netlink;
}

use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| node::netlink::check(datagram));
