//! Two nodes that differ in one thing: one of them has the agent.

use std::{cell::Cell, collections::BTreeSet, time::Duration};

use anyhow::{Context as _, ensure};
use xdp_lab::wait_until;

use super::{
    case::Case,
    host::Place,
    oddity::frames,
    seen::{Observations, Seen},
    sentinel::sentinels,
    site::Site,
};

/// Cases in flight: fewer than the rings of a veth hold.
const AT_ONCE: usize = 64;
/// How long sentinels may take, and how often they are sent again if one was lost.
const PATIENCE: Duration = Duration::from_secs(3);
const ATTEMPTS: usize = 10;
/// The client's ports of cases begin here: beyond those of pods, and of sentinels.
const FIRST_PORT: u32 = 10_000;
const LAST_PORT: u32 = 65_000;

/// Both nodes.
pub(super) struct Twins<'a> {
    pub(super) with: &'a Site,
    pub(super) without: &'a Site,
    sentinels: Cell<u32>,
    /// The number of the next frame. Headers have room for 16 bits of it.
    next_id: Cell<u32>,
    next_port: Cell<u32>,
}

/// A case with the number of its first frame, and its client's port.
#[derive(Clone, Debug)]
pub(super) struct Numbered {
    pub(super) case: Case,
    pub(super) id: u32,
    pub(super) port: u16,
}

impl Numbered {
    fn frames(&self) -> Vec<Vec<u8>> {
        frames(&self.case, self.port, self.id)
    }

    fn ids(&self) -> std::ops::Range<u32> {
        self.id..self.id + self.case.steps.len() as u32
    }

    /// Returns what was seen of its frames more often than in `other`.
    fn beyond(&self, seen: &Observations, other: &Observations) -> Vec<Seen> {
        self.ids().flat_map(|id| seen.beyond(other, id)).collect()
    }
}

/// What was seen with the agent, and without.
pub(super) type Both = [Observations; 2];

impl<'a> Twins<'a> {
    pub(super) fn new(with: &'a Site, without: &'a Site) -> Self {
        Self {
            with,
            without,
            sentinels: Cell::new(0),
            next_id: Cell::new(1),
            next_port: Cell::new(FIRST_PORT),
        }
    }

    /// Gives a case its own numbers and a flow of its own.
    pub(super) fn number(&self, case: Case) -> Numbered {
        let id = self.next_id.get();
        self.next_id.set(id + case.steps.len() as u32);
        let port = self.next_port.get();
        self.next_port
            .set(if port < LAST_PORT { port + 1 } else { FIRST_PORT });
        Numbered {
            case,
            id,
            port: port as u16,
        }
    }

    /// Begins a pass: the numbers of frames begin again.
    pub(super) fn begin(&self) {
        self.next_id.set(1);
    }

    /// Sends all cases to both nodes.
    pub(super) fn send_both(&self, cases: &[Numbered]) -> anyhow::Result<Both> {
        let mut both = Both::default();
        for cases in cases.chunks(AT_ONCE) {
            Self::send(&[self.with, self.without], cases, || {
                self.quiesce(&[self.with, self.without], &mut both)
            })?;
        }
        Ok(both)
    }

    /// Returns what the agent's node lets through of a case that the other one does not. Each case is sent
    /// alone; to the other node three times, because a busy machine loses frames.
    pub(super) fn confirm(&self, case: &Numbered, with: &Observations) -> anyhow::Result<Vec<Seen>> {
        let mut difference = Vec::new();
        for _ in 0..3 {
            let mut alone = Both::default();
            Self::send(&[self.without], std::slice::from_ref(case), || {
                self.quiesce(&[self.without], &mut alone)
            })?;
            difference = case.beyond(with, &alone[0]);
            if difference.is_empty() {
                break;
            }
        }
        Ok(difference)
    }

    /// Sends a case with a flow of its own, and returns what only the agent's node lets through.
    pub(super) fn differs(&self, case: &Case) -> anyhow::Result<Vec<Seen>> {
        let case = self.number(case.clone());
        let both = self.send_both(std::slice::from_ref(&case))?;
        if case.beyond(&both[0], &both[1]).is_empty() {
            return Ok(Vec::new());
        }
        self.confirm(&case, &both[0])
    }

    /// Returns the cases of which more was seen with the agent.
    pub(super) fn suspects<'c>(cases: &'c [Numbered], [with, without]: &Both) -> Vec<&'c Numbered> {
        let differs = |case: &&Numbered| !case.beyond(with, without).is_empty();
        cases.iter().filter(differs).collect()
    }

    /// Sends the first frames of all cases, waits, then the second ones, and so on.
    fn send(
        sites: &[&Site],
        cases: &[Numbered],
        mut quiesce: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let steps = cases.iter().map(|case| case.case.steps.len()).max();
        for step in 0..steps.unwrap_or(0) {
            for case in cases {
                if let (Some(at), Some(frame)) = (case.case.steps.get(step), case.frames().get(step)) {
                    sites.iter().try_for_each(|site| site.send(at.at, frame))?;
                }
            }
            quiesce()?;
        }
        Ok(())
    }

    /// Waits until all that was sent before has arrived, and notes it.
    fn quiesce(&self, sites: &[&Site], seen: &mut Both) -> anyhow::Result<()> {
        let mut pending = vec![BTreeSet::new(); sites.len()];
        let mut late = Ok(());
        for _ in 0..ATTEMPTS {
            for (site, pending) in sites.iter().zip(&mut pending) {
                *pending = self.send_sentinels(site)?;
            }
            late = wait_until("the sentinels arrive", PATIENCE, || {
                for ((site, pending), seen) in sites.iter().zip(&mut pending).zip(seen.iter_mut()) {
                    for arrived in site.observe(seen) {
                        pending.remove(&arrived);
                    }
                }
                pending.iter().all(BTreeSet::is_empty)
            });
            if late.is_ok() {
                break;
            }
        }
        late.with_context(|| format!("missing sentinels, by node: {pending:?}"))
    }

    fn send_sentinels(&self, site: &Site) -> anyhow::Result<BTreeSet<(Place, u32)>> {
        let mut counter = self.sentinels.get();
        let sentinels = sentinels(site.forwards(), &mut counter);
        self.sentinels.set(counter);
        for sentinel in &sentinels {
            site.send(sentinel.at, &sentinel.frame)?;
        }
        Ok(sentinels.iter().map(|sentinel| sentinel.arrives).collect())
    }

    /// Waits until both nodes are at work: every path has been used.
    pub(super) fn warm_up(&self) -> anyhow::Result<()> {
        let mut both = Both::default();
        self.quiesce(&[self.with, self.without], &mut both)?;
        ensure!(
            both.iter().all(|seen| seen.len() == 0),
            "frames of no case: {both:?}"
        );
        Ok(())
    }
}
