//! A stream of numbered datagrams while something happens.

use std::{collections::BTreeMap, time::Duration};

use xdp_lab::UdpReceiver;

use super::{PATIENCE, PeerRequest, Site, at, ports};

/// Datagrams a second: no queue is ever full, on an emulated machine too.
const RATE: u32 = 500;
/// Datagrams that must arrive before and after.
const SOME: u64 = 50;

/// What became of a stream.
#[derive(Clone, Debug)]
pub(in crate::acceptance) struct Streamed {
    pub(in crate::acceptance) sent: u64,
    pub(in crate::acceptance) lost: u64,
    /// Datagrams by mark.
    pub(in crate::acceptance) marks: BTreeMap<u32, u64>,
    pub(in crate::acceptance) carrier_changes: u32,
}

impl Site<'_> {
    /// Runs `work` while the peer sends datagrams to a pod.
    pub(in crate::acceptance) fn under_a_stream(
        &self,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Streamed> {
        let to = at(self.pods.ptp.v4(), ports::REDIRECT);
        let inbox = UdpReceiver::bind(&self.pods.ptp.ns, to)?;
        let changes = || anyhow::Ok(self.lab.node().interface(&self.nic)?.carrier_changes);
        self.peer.done(&PeerRequest::Stream { to, per_second: RATE })?;
        let begun = inbox.wait_for(SOME, PATIENCE);
        // A carrier that was coming back has come: igb receives before it reports one.
        let before = self.has_carrier().and_then(|()| changes());
        let worked = begun.map_err(Into::into).and_then(|_| work());
        let flows_again = inbox.wait_for(inbox.received().packets + SOME, PATIENCE);
        let (stream, sent) = self.peer.stop()?;
        worked?;
        flows_again?;
        // The last ones may be under way; the others are lost.
        let _ = xdp_lab::wait_until("all arrive", Duration::from_secs(1), || {
            inbox.stream(stream).distinct == sent
        });
        Ok(Streamed {
            sent,
            lost: inbox.stream(stream).lost(sent),
            marks: inbox.received().marks,
            carrier_changes: changes()?.wrapping_sub(before?),
        })
    }

    /// Notes what became of a stream.
    pub(in crate::acceptance) fn note_stream(&self, what: &str, streamed: &Streamed) {
        self.fact(&format!("{what}: carrier changes"), streamed.carrier_changes);
        self.fact(&format!("{what}: datagrams lost"), streamed.lost);
        self.fact(&format!("{what}: datagrams sent"), streamed.sent);
    }
}
