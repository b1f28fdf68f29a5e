//! Live trials: packets on one of the NICs, with netfilter rules in the node.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use aya::programs::ProgramFd;
use xdp_lab::bpf::BpfAttachType;

use super::filter::Filter;
use crate::{
    instruments::{FrameSet, Instruments, LiveTrial},
    stats::{Samples, interleave},
    sys,
    testbed::Testbed,
};

/// A variant that is measured.
pub(super) struct Variant {
    pub(super) name: String,
    pub(super) program: ProgramFd,
    /// Whether it uses the NIC without the product.
    pub(super) plain: bool,
    pub(super) set: FrameSet,
    pub(super) packets: u32,
    pub(super) filter: Filter,
    /// Whether the NIC has the tc program with `bpf_redirect_peer`.
    pub(super) hop: bool,
}

/// Results of a variant.
pub(super) struct LiveResult {
    pub(super) name: String,
    /// Nanoseconds per packet sent.
    pub(super) sent: Samples,
    /// Nanoseconds per packet that arrived; NaN if none does.
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

impl Variant {
    /// On the product's NIC, without netfilter rules.
    pub(super) fn new(name: &str, program: ProgramFd, set: FrameSet, packets: u32) -> Self {
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

    /// Uses the NIC without the product, with these rules.
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

/// Measures all variants in turn, after one pass that warms up neighbour entries, pages and caches.
pub(super) fn contest(
    testbed: &Testbed<'_>,
    instruments: &mut Instruments,
    variants: &[Variant],
    passes: usize,
) -> Result<Vec<LiveResult>> {
    for variant in variants {
        trial(testbed, instruments, variant)?;
    }
    let mut lives: Vec<Vec<LiveTrial>> = variants.iter().map(|_| Vec::new()).collect();
    let numbered: Vec<usize> = (0..variants.len()).collect();
    interleave(passes, &numbered, |&number| {
        lives[number].push(trial(testbed, instruments, &variants[number])?);
        Ok::<_, anyhow::Error>(0.0)
    })?;
    Ok(variants
        .iter()
        .zip(lives)
        .map(|(variant, lives)| found(&variant.name, &lives))
        .collect())
}

fn found(name: &str, lives: &[LiveTrial]) -> LiveResult {
    let mut total = Total::default();
    for live in lives {
        total.sent += live.sent;
        total.received += live.received.packets;
        total.expecting += live.received.expecting;
        total.right += live.received.right;
    }
    LiveResult {
        name: name.to_owned(),
        sent: Samples(lives.iter().map(LiveTrial::per_packet).collect()),
        delivered: Samples(lives.iter().map(LiveTrial::per_delivered).collect()),
        total,
    }
}

fn trial(testbed: &Testbed<'_>, instruments: &mut Instruments, variant: &Variant) -> Result<LiveTrial> {
    let nic = if variant.plain {
        &testbed.plain_nic
    } else {
        &testbed.nic
    };
    let _hop: Option<OwnedFd> = if variant.hop {
        let (program, index) = (instruments.program("hop")?, nic.ifindex);
        Some(
            testbed
                .node
                .run(|| sys::attach(&program, index, BpfAttachType::TcxIngress))??,
        )
    } else {
        None
    };
    variant.filter.install(testbed)?;
    let live = instruments.live(
        &testbed.node,
        nic.ifindex,
        &variant.program,
        variant.set,
        variant.packets,
    );
    variant.filter.remove(testbed)?;
    live.with_context(|| format!("`{}`", variant.name))
}
