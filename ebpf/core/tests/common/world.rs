//! Rules as flat lists of intervals: the oracle reads the lists, the tables are trees over them.
#![allow(dead_code, reason = "each test uses a part")]

use xdp_core::{
    events::{Event, Fallback, Unparsed},
    reject::RejectWith,
    tables::{Action, ActionRecord, Class, PORTS, PodBlock},
    verdict::Verdict,
};

use super::{
    facts::Facts,
    model::Model,
    shape::{POD, POD_V6},
};

/// What holds from each bound on. Sorted, beginning with zero.
pub(crate) type Flat<K, V> = Vec<(K, V)>;

/// What applies to one class of sources.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    /// TCP, UDP, SCTP, ICMP, `ICMPv6`.
    pub(crate) ports: [Flat<u16, u16>; 5],
    pub(crate) portless: u16,
}

/// One pod's rules.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) v4: Flat<u32, u32>,
    pub(crate) v6: Flat<u128, u32>,
    pub(crate) classes: Vec<Columns>,
    pub(crate) actions: Vec<ActionRecord>,
    pub(crate) flags: u16,
}

/// How deep the trees are: bounds to a block, and how many there are of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depth {
    pub(crate) bounds: usize,
    pub(crate) width: usize,
}

/// Values that searches go wrong at.
const EDGES: [u128; 10] = [
    1,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000_0000_0000_0000_0000,
    u128::MAX,
];

/// Bounds up to `max`.
fn bounds(count: usize, max: u128, rng: &mut fastrand::Rng) -> Vec<u128> {
    let mut bounds = vec![0];
    while bounds.len() < count {
        bounds.push(match rng.u8(..4) {
            0 => rng.choice(EDGES).unwrap_or(0) & max,
            // A neighbour: an interval of one.
            1 => rng.choice(bounds.iter().copied()).unwrap_or(0).wrapping_add(1) & max,
            _ => rng.u128(..) & max,
        });
        bounds.sort_unstable();
        bounds.dedup();
    }
    bounds
}

pub(crate) fn holds<K: PartialOrd, V: Copy>(flat: &[(K, V)], key: &K) -> V {
    flat.iter()
        .rev()
        .find(|(bound, _)| bound <= key)
        .expect("the first bound is zero")
        .1
}

impl World {
    pub(crate) fn random(sources: usize, rng: &mut fastrand::Rng) -> Self {
        let actions: Vec<_> = (0..12).map(|rule| record(rule, rng)).collect();
        let action = |rng: &mut fastrand::Rng| rng.u16(..=12);
        let classes: Vec<_> = (0..rng.u32(1..6))
            .map(|_| Columns {
                ports: std::array::from_fn(|_| {
                    let count = rng.choice([1, 1, 2, 5, 32, 33, 90]).unwrap_or(1);
                    let bounds = bounds(count, 0xffff, rng);
                    bounds
                        .into_iter()
                        .map(|bound| (bound as u16, action(rng)))
                        .collect()
                }),
                portless: action(rng),
            })
            .collect();
        let classes_len = classes.len() as u32;
        Self {
            v4: bounds(sources, 0xffff_ffff, rng)
                .into_iter()
                .map(|bound| (bound as u32, rng.u32(..classes_len)))
                .collect(),
            v6: bounds(sources, u128::MAX, rng)
                .into_iter()
                .map(|bound| (bound, rng.u32(..classes_len)))
                .collect(),
            classes,
            actions,
            flags: if rng.u8(..8) == 0 {
                rng.u16(..8)
            } else {
                PodBlock::REPLY_PATH
            },
        }
    }

    /// As tables, `width` bounds of sources to a block.
    pub(crate) fn model(&self, width: usize) -> Model {
        let mut model = Model::new(POD, POD_V6);
        model.pod.flags = self.flags;
        model.pod.sources_v4 = model.add_sources_v4(&self.v4, width);
        model.pod.sources_v6 = model.add_sources_v6(&self.v6, width);
        model.classes = self
            .classes
            .iter()
            .map(|columns| {
                let [tcp, udp, sctp, icmp, icmpv6] = columns
                    .ports
                    .each_ref()
                    .map(|flat| model.add_ports(flat, bounds_to_a_block(flat.len())));
                Class {
                    tcp,
                    udp,
                    sctp,
                    icmp,
                    icmpv6,
                    portless: columns.portless,
                    reserved: 0,
                }
            })
            .collect();
        for (number, record) in (1..).zip(&self.actions) {
            model.actions.insert(number, *record);
        }
        model
    }

    /// Keys on both sides of every bound of sources, and both ends.
    pub(crate) fn source_edges(&self, v6: bool) -> Vec<u128> {
        let (bounds, max): (Vec<u128>, u128) = if v6 {
            (self.v6.iter().map(|(bound, _)| *bound).collect(), u128::MAX)
        } else {
            (
                self.v4.iter().map(|(bound, _)| u128::from(*bound)).collect(),
                0xffff_ffff,
            )
        };
        let around = bounds
            .iter()
            .flat_map(|bound| [bound.saturating_sub(1), *bound, bound.saturating_add(1).min(max)]);
        around.chain([0, max]).collect()
    }

    fn columns(&self, facts: &Facts) -> &Columns {
        let class = if facts.v6 {
            holds(&self.v6, &facts.source)
        } else {
            holds(&self.v4, &(facts.source as u32))
        };
        &self.classes[class as usize]
    }

    /// The ports that are asked about the packet.
    pub(crate) fn ports(&self, facts: &Facts) -> Option<&Flat<u16, u16>> {
        let column = match facts.protocol {
            _ if facts.later_fragment => None,
            6 => Some(0),
            17 => Some(1),
            132 => Some(2),
            1 if !facts.v6 => Some(3),
            58 if facts.v6 => Some(4),
            _ => None,
        }?;
        Some(&self.columns(facts).ports[column])
    }

    /// What must become of the packet, by name; with its rule, and the reason's code.
    pub(crate) fn verdict(&self, facts: &Facts) -> Told {
        if facts.v6 && facts.source >> 32 == 0xffff {
            return Told::Unparsed(Unparsed::V4MappedInV6);
        }
        if facts.is_control() {
            return Told::NotConsidered;
        }
        let key = if facts.icmp().is_some() {
            facts.l4.0
        } else {
            facts.l4.1
        };
        let number = match self.ports(facts) {
            Some(flat) => holds(flat, &key),
            None => self.columns(facts).portless,
        };
        if number == 0 {
            return Told::NoMatch;
        }
        self.act(&self.actions[usize::from(number) - 1], facts)
    }

    fn act(&self, record: &ActionRecord, facts: &Facts) -> Told {
        let rule = record.rule;
        if record.flags & ActionRecord::AUDIT != 0 {
            return Told::Audit(rule);
        }
        match record.action {
            2 => Told::Drop(rule),
            3 => self.redirect(record, facts),
            4 => match answer(facts) {
                Some(answer) => Told::Reject(rule, answer),
                None => Told::RejectedSilently(rule, Event::RejectSilent),
            },
            _ => Told::Pass(rule),
        }
    }

    fn redirect(&self, record: &ActionRecord, facts: &Facts) -> Told {
        let peer = record.flags & ActionRecord::PEER != 0;
        let obstacles = [
            (peer && self.flags & PodBlock::NO_PEER != 0, Fallback::NoPeer),
            (!peer && self.flags & PodBlock::NOT_READY != 0, Fallback::NotReady),
            (self.flags & PodBlock::REPLY_PATH == 0, Fallback::NoReplyPath),
            (facts.group_mac, Fallback::NotUnicast),
            (facts.fragment, Fallback::Fragment),
            (facts.ip_len > 1500, Fallback::TooLong),
        ];
        if let Some((_, reason)) = obstacles.into_iter().find(|(stands, _)| *stands) {
            return Told::FallBack(record.rule, reason);
        }
        let mark = (record.flags & ActionRecord::MARK != 0).then_some(record.mark);
        Told::Redirect(record.rule, mark, peer, facts.tags as u32)
    }
}

/// A verdict, as far as the oracle tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Unparsed(Unparsed),
    NotConsidered,
    NoMatch,
    Pass(u32),
    Audit(u32),
    Drop(u32),
    Redirect(u32, Option<u32>, bool, u32),
    FallBack(u32, Fallback),
    Reject(u32, RejectWith),
    RejectedSilently(u32, Event),
    Limited(u32),
    Drained,
}

impl From<Verdict> for Told {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Unparsed(reason) => Self::Unparsed(reason),
            Verdict::NotConsidered => Self::NotConsidered,
            Verdict::NoMatch => Self::NoMatch,
            Verdict::Pass { rule } => Self::Pass(rule),
            Verdict::Audit { rule } => Self::Audit(rule),
            Verdict::Drop { rule } => Self::Drop(rule),
            Verdict::Redirect(to) => Self::Redirect(to.metadata.rule(), to.metadata.mark(), false, to.tags),
            Verdict::Peer(to) => Self::Redirect(to.metadata.rule(), to.metadata.mark(), true, to.tags),
            Verdict::FallBack { rule, reason } => Self::FallBack(rule, reason),
            Verdict::Reject { rule, offender } => Self::Reject(rule, offender.answer()),
            Verdict::RejectedSilently { rule, reason } => Self::RejectedSilently(rule, reason),
            Verdict::Limited { rule } => Self::Limited(rule),
            Verdict::Drained => Self::Drained,
        }
    }
}

/// How a rejected packet is answered.
fn answer(facts: &Facts) -> Option<RejectWith> {
    let is_group = if facts.v6 {
        facts.source >> 120 == 0xff || facts.source <= 1
    } else {
        let [a, rest @ ..] = (facts.source as u32).to_be_bytes();
        a == 0 || a == 127 || (224..240).contains(&a) || (a == 255 && rest == [255; 3])
    };
    let is_error = facts.icmp().is_some_and(|[kind, _]| {
        if facts.v6 {
            kind < 128
        } else {
            ![0, 8, 9, 10, 13, 14, 15, 16, 17, 18].contains(&kind)
        }
    });
    let is_tcp = facts.protocol == 6;
    let is_reset = is_tcp && facts.tcp_flags.is_none_or(|flags| flags & 4 != 0);
    if is_group || is_error || is_reset || facts.group_mac || facts.fragment {
        return None;
    }
    Some(match (is_tcp, facts.v6) {
        (true, false) => RejectWith::RstV4,
        (true, true) => RejectWith::RstV6,
        (false, false) => RejectWith::Icmp,
        (false, true) => RejectWith::IcmpV6,
    })
}

fn record(rule: u32, rng: &mut fastrand::Rng) -> ActionRecord {
    let actions = [
        Action::Pass,
        Action::Drop,
        Action::Redirect,
        Action::Redirect,
        Action::Reject,
    ];
    let audit = if rng.u8(..6) == 0 { ActionRecord::AUDIT } else { 0 };
    ActionRecord {
        rule,
        mark: rng.u32(..),
        action: rng.choice(actions).map_or(0, |action| action as u8),
        flags: rng.u8(..) & (ActionRecord::MARK | ActionRecord::PEER) | audit,
        ..ActionRecord::default()
    }
}

/// Bounds to a block: for two levels, or for three once there are enough.
fn bounds_to_a_block(bounds: usize) -> usize {
    if bounds.is_multiple_of(2) {
        PORTS.min(bounds.max(4).div_ceil(2))
    } else {
        (2..PORTS).find(|width| width.pow(3) >= bounds).unwrap_or(PORTS)
    }
}
