//! Live trials: who gets packets on which NIC, with what in the node's netfilter.

use std::fmt::Write as _;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;

use crate::command;
use crate::instruments::{Instruments, Live, Set};
use crate::stage::Stage;
use crate::stats::{Samples, interleave};
use crate::sys::{self, Hook};

/// What the node's netfilter holds during a trial. No rule matches a packet of the trial, but for the drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// Nothing.
    Empty,
    /// So many iptables rules on the way of forwarded packets.
    Iptables(usize),
    /// Rules as kube-proxy has them for forwarded packets, behind so many that do not match. Connections are tracked.
    KubeProxy(usize),
    /// An nft set of so many source ranges with ports.
    NftSet(usize),
    /// One iptables rule that drops everything as early as iptables can.
    RawDrop,
    /// One nft rule that drops everything on the NIC's ingress.
    IngressDrop,
}

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

impl Filter {
    pub(super) fn install(self, stage: &Stage<'_>) -> Result<()> {
        let nic = &stage.plain_nic.name;
        let (line, input) = match self {
            Self::Empty => return Ok(()),
            Self::Iptables(rules) => ("iptables-restore", iptables(rules)),
            Self::KubeProxy(rules) => (
                "iptables-restore",
                iptables(rules).replace("COMMIT\n", KUBE_FORWARD),
            ),
            Self::RawDrop => (
                "iptables-restore",
                format!("*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -i {nic} -j DROP\nCOMMIT\n"),
            ),
            Self::NftSet(ranges) => ("nft -f -", nft_set(ranges)),
            Self::IngressDrop => (
                "nft -f -",
                format!(
                    "table netdev bench {{ chain c {{ type filter hook ingress device {nic} priority 0; drop\n}}\n}}\n"
                ),
            ),
        };
        ensure!(
            command::is_there(line.split(' ').next().unwrap_or_default()),
            "`{line}` is not installed"
        );
        command::feed(&stage.node, line, &input).map(drop)
    }

    pub(super) fn remove(self, stage: &Stage<'_>) -> Result<()> {
        if self == Self::Empty {
            return Ok(());
        }
        command::run(&stage.node, "nft flush ruleset").map(drop)
    }
}

/// kube-proxy 1.36 in iptables mode, the chain KUBE-FORWARD.
const KUBE_FORWARD: &str = "\
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
";

/// As a firewall or a service proxy leaves them: one source and one port each.
fn iptables(rules: usize) -> String {
    let mut text = "*filter\n:FORWARD ACCEPT [0:0]\n".to_owned();
    for number in 0..rules {
        let [_, _, a, b] = (number as u32).to_be_bytes();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "-A FORWARD -s 192.168.{a}.{b}/32 -p tcp -m tcp --dport {} -j ACCEPT",
            1024 + number
        );
    }
    text + "COMMIT\n"
}

fn nft_set(ranges: usize) -> String {
    let element = |number: usize| {
        let [_, _, a, b] = (number as u32).to_be_bytes();
        let port = 1024 + 2 * number;
        format!("172.16.{a}.{b} . {port}-{}", port + 1)
    };
    let elements: Vec<String> = (0..ranges).map(element).collect();
    format!(
        "table ip bench {{ set s {{ type ipv4_addr . inet_service; flags interval; elements = {{ {} }} }}\n\
         chain c {{ type filter hook forward priority 0; ip saddr . th dport @s drop\n}}\n}}\n",
        elements.join(", ")
    )
}
