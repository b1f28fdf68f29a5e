//! Live trials: who gets packets on which NIC, with what in the node's netfilter.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use aya::programs::ProgramFd;

use super::filter::Filter;
use crate::{
    instruments::{Instruments, Live, Set},
    stage::Stage,
    stats::{Samples, interleave},
    sys::{
        Hook, {self},
    },
};

/// One contestant.
pub(super) struct Way {
    pub(super) name: String,
    pub(super) program: ProgramFd,
    /// The NIC without the product.
    pub(super) plain: bool,
    pub(super) set: Set,
    pub(super) packets: u32,
    pub(super) filter: Filter,
    /// tc `bpf_redirect_peer` on the NIC.
    pub(super) hop: bool,
}

/// What its trials gave.
pub(super) struct Found {
    pub(super) name: String,
    /// Nanoseconds per packet sent.
    pub(super) sent: Samples,
    /// Nanoseconds per packet that arrived; not a number where none does.
    pub(super) delivered: Samples,
    /// Sums of all trials.
    pub(super) total: Total,
}

/// Packets of all trials.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Total {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) expecting: u64,
    pub(super) right: u64,
}

impl Way {
    /// On the product's NIC, with nothing in the way.
    pub(super) fn new(name: &str, program: ProgramFd, set: Set, packets: u32) -> Self {
        Self {
            name: name.to_owned(),
            program,
            plain: false,
            set,
            packets,
            filter: Filter::Empty,
            hop: false,
        }
    }

    /// On the other NIC.
    pub(super) fn plain(self, filter: Filter) -> Self {
        Self {
            plain: true,
            filter,
            ..self
        }
    }

    pub(super) fn hop(self) -> Self {
        Self {
            hop: true,
            ..self.plain(Filter::Empty)
        }
    }
}

/// All in turns. One more round first, which counts for nothing: neighbours, pages and caches.
pub(super) fn contest(
    stage: &Stage<'_>,
    instruments: &mut Instruments,
    ways: &[Way],
    rounds: usize,
) -> Result<Vec<Found>> {
    for way in ways {
        trial(stage, instruments, way)?;
    }
    let mut lives: Vec<Vec<Live>> = ways.iter().map(|_| Vec::new()).collect();
    let numbered: Vec<usize> = (0..ways.len()).collect();
    interleave(rounds, &numbered, |&who| {
        lives[who].push(trial(stage, instruments, &ways[who])?);
        Ok::<_, anyhow::Error>(0.0)
    })?;
    Ok(ways
        .iter()
        .zip(lives)
        .map(|(way, lives)| found(&way.name, &lives))
        .collect())
}

fn found(name: &str, lives: &[Live]) -> Found {
    let mut total = Total::default();
    for live in lives {
        total.sent += live.sent;
        total.received += live.received.packets;
        total.expecting += live.received.expecting;
        total.right += live.received.right;
    }
    Found {
        name: name.to_owned(),
        sent: Samples(lives.iter().map(Live::per_packet).collect()),
        delivered: Samples(lives.iter().map(Live::per_delivered).collect()),
        total,
    }
}

fn trial(stage: &Stage<'_>, instruments: &mut Instruments, way: &Way) -> Result<Live> {
    let nic = if way.plain { &stage.plain_nic } else { &stage.nic };
    let _hop: Option<OwnedFd> = if way.hop {
        let (program, index) = (instruments.program("hop")?, nic.ifindex);
        Some(
            stage
                .node
                .run(|| sys::attach(&program, index, Hook::TcxIngress))??,
        )
    } else {
        None
    };
    way.filter.install(stage)?;
    let live = instruments.live(&stage.node, nic.ifindex, &way.program, way.set, way.packets);
    way.filter.remove(stage)?;
    live.with_context(|| format!("`{}`", way.name))
}
