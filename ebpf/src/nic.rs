//! Executes verdicts on a NIC's packets: look-up of the flow first, then the change of the packet.

use aya_ebpf::programs::XdpContext;
use xdp_core::{
    events::{Event, Fallback},
    verdict::{Decision, Kind, Trace, VerdictCode},
};

use crate::{Execute, Executed, inbound, redirect, reject};

/// A packet, and the decision about it.
pub(crate) struct NicPacket<'a> {
    pub(crate) ctx: &'a XdpContext,
    pub(crate) decision: &'a Decision<'a>,
    /// The verdict after rate limits.
    pub(crate) limited: VerdictCode,
}

impl Execute for NicPacket<'_> {
    /// Checks the device before the flow, so that a pod that is gone opens no flows. Writes to the packet
    /// last, because that cannot be reverted.
    #[inline(always)]
    fn redirect(&self, _: VerdictCode) -> Executed {
        let redirect = self.decision.redirect().ok_or(fall_back(Fallback::NoDevice))?;
        redirect::set_target(redirect.slot).map_err(fall_back)?;
        let event = self.track()?;
        redirect::write(self.ctx, &redirect).map_err(fall_back)?;
        Ok(VerdictCode::because(Kind::Redirect, event))
    }

    #[inline(always)]
    fn peer(&self, _: VerdictCode) -> Executed {
        let redirect = self.decision.redirect().ok_or(fall_back(Fallback::NoDevice))?;
        let device = redirect::peer_device(&redirect).map_err(fall_back)?;
        let event = self.track()?;
        redirect::mark_for_peer(self.ctx, &redirect, device).map_err(fall_back)?;
        Ok(VerdictCode::because(Kind::Peer, event))
    }

    /// Counts the packet by the verdict that it had before the look-up of its flow, and the flow's event as
    /// the reason.
    #[inline(always)]
    fn drain(&self, verdict: VerdictCode) -> Executed {
        let (mac, tags) = self.decision.target().ok_or(self.limited)?;
        redirect::set_target(self.decision.trace.slot).map_err(|_| self.limited)?;
        redirect::write_header(self.ctx, mac, tags).ok_or(self.limited)?;
        Ok(VerdictCode::because(self.limited.kind, verdict.reason))
    }

    #[inline(always)]
    fn reject(&self, verdict: VerdictCode) -> Executed {
        if reject::execute(self.ctx, self.decision) {
            Ok(verdict)
        } else {
            Err(VerdictCode::because(
                Kind::RejectedSilently,
                Event::RejectFailed.code(),
            ))
        }
    }
}

impl NicPacket<'_> {
    #[inline(always)]
    fn track(&self) -> Result<u32, VerdictCode> {
        if cfg!(feature = "without-flows") {
            return Ok(Trace::ABSENT);
        }
        inbound::track(self.ctx, self.decision).map_err(|code| VerdictCode::because(Kind::FallBack, code))
    }
}

#[inline(always)]
fn fall_back(reason: Fallback) -> VerdictCode {
    VerdictCode::because(Kind::FallBack, reason.code())
}
