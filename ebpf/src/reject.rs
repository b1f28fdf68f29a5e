//! Turns a rejected packet into its answer.

use aya_ebpf::programs::XdpContext;
use xdp_core::reject::{self, Offender};
use xdp_core::verdict::{Event, Verdict};

use crate::frame::Frame;

/// What is left of a packet after a failure is dropped: its rule says that it goes nowhere.
#[inline(always)]
pub(crate) fn execute(ctx: &XdpContext, rule: u32, offender: Offender) -> Verdict {
    match reject::turn(&mut Frame::new(ctx), &offender) {
        Some(()) => Verdict::Reject { rule, offender },
        None => Verdict::Unanswered {
            rule,
            reason: Event::RejectFailed,
        },
    }
}
