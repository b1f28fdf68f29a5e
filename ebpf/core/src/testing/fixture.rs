//! Random rules of one pod as flat lists of bounds: the oracle reads the lists, and the tables are trees over
//! them.

use std::{vec, vec::Vec};

use super::{
    facts::PacketFacts,
    model::{NIC_MAC, PodModel},
    shape::{POD, POD_V6},
};
use crate::{
    events::{Event, Fallback, ForeignFrame, Unparsed, UnparsedDrop},
    reject::RejectWith,
    tables::{Action, ActionRecord, Class, PORTS, PodBlock},
    verdict::Verdict,
};

/// Sorted bounds, and the value from each bound on. The first bound is zero.
pub type FlatBounds<K, V> = Vec<(K, V)>;

/// The rules for one class of sources.
#[derive(Clone, Debug)]
pub struct ClassColumns {
    /// Action numbers for TCP, UDP, SCTP, ICMP and `ICMPv6`.
    pub ports: [FlatBounds<u16, u16>; 5],
    /// Action number for packets without ports.
    pub portless: u16,
}

/// The rules of one pod.
#[derive(Clone, Debug)]
pub struct RuleFixture {
    /// Classes of IPv4 sources.
    pub v4: FlatBounds<u32, u32>,
    /// Classes of IPv6 sources.
    pub v6: FlatBounds<u128, u32>,
    /// The classes.
    pub classes: Vec<ClassColumns>,
    /// The rules.
    pub actions: Vec<ActionRecord>,
    /// Flags of the pod's block.
    pub flags: u16,
}

/// Values at the edges of integer types.
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

/// Returns random bounds up to `max`.
fn bounds(count: usize, max: u128, rng: &mut fastrand::Rng) -> Vec<u128> {
    let mut bounds = vec![0];
    while bounds.len() < count {
        bounds.push(match rng.u8(..4) {
            0 => rng.choice(EDGES).unwrap_or(0) & max,
            // Next to another bound: an interval of one value.
            1 => rng.choice(bounds.iter().copied()).unwrap_or(0).wrapping_add(1) & max,
            _ => rng.u128(..) & max,
        });
        bounds.sort_unstable();
        bounds.dedup();
    }
    bounds
}

/// Returns the value for a key.
///
/// # Panics
///
/// If the first bound is larger than the key.
pub fn look_up<K: PartialOrd, V: Copy>(flat: &[(K, V)], key: &K) -> V {
    flat.iter()
        .rev()
        .find(|(bound, _)| bound <= key)
        .expect("the first bound is zero")
        .1
}

impl RuleFixture {
    /// Returns random rules, with this many bounds of sources.
    pub fn random(sources: usize, rng: &mut fastrand::Rng) -> Self {
        let actions: Vec<_> = (0..12).map(|rule| record(rule, rng)).collect();
        let action = |rng: &mut fastrand::Rng| rng.u16(..=12);
        let classes: Vec<_> = (0..rng.u32(1..6))
            .map(|_| ClassColumns {
                ports: core::array::from_fn(|_| {
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
                rng.u16(..8) | [0, PodBlock::WITHOUT_PERMISSION][usize::from(rng.bool())]
            } else {
                PodBlock::REPLY_PATH
            },
        }
    }

    /// Returns the tables, with `width` bounds of sources in a block.
    pub fn model(&self, width: usize) -> PodModel {
        let mut model = PodModel::new(POD, POD_V6);
        model.pod.flags = self.flags;
        model.pod.sources_v4 = model.add_sources_v4(&self.v4, width);
        model.pod.sources_v6 = model.add_sources_v6(&self.v6, width);
        let drops = self.classes.iter().map(|class| self.drops(class));
        let drops: Vec<_> = drops.collect();
        model.classes = self
            .classes
            .iter()
            .zip(drops)
            .map(|(columns, drops)| {
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
                    drops,
                }
            })
            .collect();
        for (number, record) in (1..).zip(&self.actions) {
            model.actions.insert(number, *record);
        }
        model
    }

    /// Returns the bits of the columns in which some rule drops.
    fn drops(&self, class: &ClassColumns) -> u16 {
        let portless = [(0, class.portless)];
        let columns = class.ports.iter().map(Vec::as_slice).chain([&portless[..]]);
        let bits = columns
            .zip(0..)
            .map(|(flat, bit)| u16::from(self.drops_in(flat)) << bit);
        bits.sum()
    }

    fn drops_in(&self, flat: &[(u16, u16)]) -> bool {
        let numbers = flat.iter().filter(|(_, number)| *number != 0);
        let mut records = numbers.map(|(_, number)| &self.actions[usize::from(*number) - 1]);
        records.any(|record| {
            let limits = ActionRecord::LIMIT_RULE | ActionRecord::LIMIT_SOURCE;
            record.flags & ActionRecord::AUDIT == 0
                && (matches!(record.action, 2 | 4) || record.flags & limits != 0)
        })
    }

    /// Returns whether a rule that drops could match a packet whose transport header cannot be read.
    fn could_drop(&self, facts: &PacketFacts, has_protocol: bool) -> bool {
        let class = self.columns(facts);
        if has_protocol {
            return self.ports(facts).is_some_and(|flat| self.drops_in(flat));
        }
        let own_icmp = if facts.v6 { 4 } else { 3 };
        [0, 1, 2, own_icmp]
            .iter()
            .any(|column| self.drops_in(&class.ports[*column]))
            || self.drops_in(&[(0, class.portless)])
    }

    /// Returns the sources on both sides of every bound, and the first and last address.
    pub fn source_edges(&self, v6: bool) -> Vec<u128> {
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

    fn columns(&self, facts: &PacketFacts) -> &ClassColumns {
        let class = if facts.v6 {
            look_up(&self.v6, &facts.source)
        } else {
            look_up(&self.v4, &(facts.source as u32))
        };
        &self.classes[class as usize]
    }

    /// Returns the bounds of ports that apply to a packet.
    pub fn ports(&self, facts: &PacketFacts) -> Option<&FlatBounds<u16, u16>> {
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

    /// Returns the expected verdict.
    pub fn verdict(&self, facts: &PacketFacts) -> VerdictSummary {
        if facts.v6 && facts.source >> 32 == 0xffff {
            return VerdictSummary::Unparsed(Unparsed::V4MappedInV6);
        }
        if let Some(reason) = foreign(facts).filter(|_| !facts.is_control()) {
            return VerdictSummary::Foreign(reason);
        }
        if let Some((reason, has_protocol)) = facts.unparsed {
            let dropped = UnparsedDrop::ALL
                .into_iter()
                .find(|dropped| dropped.name() == reason.name());
            return match dropped.filter(|_| self.could_drop(facts, has_protocol)) {
                Some(dropped) => VerdictSummary::UnparsedDrop(dropped),
                None => VerdictSummary::Unparsed(reason),
            };
        }
        if facts.is_control() {
            return VerdictSummary::NotConsidered;
        }
        let key = if facts.icmp().is_some() {
            facts.l4.0
        } else {
            facts.l4.1
        };
        let number = match self.ports(facts) {
            Some(flat) => look_up(flat, &key),
            None => self.columns(facts).portless,
        };
        if number == 0 {
            return VerdictSummary::NoMatch;
        }
        self.act(&self.actions[usize::from(number) - 1], facts)
    }

    fn act(&self, record: &ActionRecord, facts: &PacketFacts) -> VerdictSummary {
        let rule = record.rule;
        if record.flags & ActionRecord::AUDIT != 0 {
            return VerdictSummary::Audit(rule);
        }
        match record.action {
            2 => VerdictSummary::Drop(rule),
            3 => self.redirect(record, facts),
            4 => match answer(facts) {
                Some(answer) => VerdictSummary::Reject(rule, answer),
                None => VerdictSummary::RejectedSilently(rule, Event::RejectSilent),
            },
            _ => VerdictSummary::Pass(rule),
        }
    }

    fn redirect(&self, record: &ActionRecord, facts: &PacketFacts) -> VerdictSummary {
        let peer = record.flags & ActionRecord::PEER != 0;
        let obstacle = if peer {
            PodBlock::NO_PEER
        } else {
            PodBlock::NOT_READY
        };
        let in_doubt = obstacle | PodBlock::ADDRESS_IN_DOUBT;
        let fallbacks = [
            (self.flags & PodBlock::NOT_PERMITTED != 0, Fallback::NotPermitted),
            (self.flags & in_doubt == in_doubt, Fallback::AddressInDoubt),
            (peer && self.flags & PodBlock::NO_PEER != 0, Fallback::NoPeer),
            (!peer && self.flags & PodBlock::NOT_READY != 0, Fallback::NotReady),
            (self.flags & PodBlock::REPLY_PATH == 0, Fallback::NoReplyPath),
            (
                record.flags & ActionRecord::NOT_CERTAIN != 0,
                Fallback::NetworkPolicy,
            ),
            (facts.group_mac, Fallback::NotUnicast),
            (facts.fragment, Fallback::Fragment),
            (facts.ip_len > 1500, Fallback::TooLong),
            (facts.ttl < 2, Fallback::TimeToLive),
            (facts.options, Fallback::IpOptions),
        ];
        if let Some((_, reason)) = fallbacks.into_iter().find(|(applies, _)| *applies) {
            return VerdictSummary::FallBack(record.rule, reason);
        }
        let mark = (record.flags & ActionRecord::MARK != 0).then_some(record.mark);
        VerdictSummary::Redirect(record.rule, mark, peer, facts.tags as u32)
    }
}

/// A verdict, as far as the oracle knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerdictSummary {
    /// See [`Verdict::Unparsed`].
    Unparsed(Unparsed),
    /// See [`Verdict::NotConsidered`].
    NotConsidered,
    /// See [`Verdict::Foreign`].
    Foreign(ForeignFrame),
    /// See [`Verdict::NoMatch`].
    NoMatch,
    /// See [`Verdict::Pass`], with the rule.
    Pass(u32),
    /// See [`Verdict::Audit`], with the rule.
    Audit(u32),
    /// See [`Verdict::Drop`], with the rule.
    Drop(u32),
    /// [`Verdict::Redirect`] or [`Verdict::Peer`]: rule, mark, whether it is the latter, and VLAN tags.
    Redirect(u32, Option<u32>, bool, u32),
    /// See [`Verdict::FallBack`], with the rule.
    FallBack(u32, Fallback),
    /// See [`Verdict::Reject`], with the rule.
    Reject(u32, RejectWith),
    /// See [`Verdict::RejectedSilently`], with the rule.
    RejectedSilently(u32, Event),
    /// See [`Verdict::Limited`], with the rule.
    Limited(u32),
    /// See [`Verdict::Drained`].
    Drained,
    /// See [`Verdict::OwnConnection`].
    OwnConnection,
    /// See [`Verdict::UnparsedDrop`].
    UnparsedDrop(UnparsedDrop),
}

impl From<Verdict> for VerdictSummary {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Unparsed(reason) => Self::Unparsed(reason),
            Verdict::NotConsidered => Self::NotConsidered,
            Verdict::Foreign(reason) => Self::Foreign(reason),
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
            Verdict::OwnConnection => Self::OwnConnection,
            Verdict::UnparsedDrop(reason) => Self::UnparsedDrop(reason),
        }
    }
}

/// Returns why the stack of the node with [`PodModel`]'s NIC would not take the frame: the NIC has the
/// address [`super::NIC_MAC`], and there are interfaces for VLAN 1 and for VLAN 2 in it.
fn foreign(facts: &PacketFacts) -> Option<ForeignFrame> {
    const VLAN: u16 = 0x8100;
    let vlans: Vec<(u16, u16)> = facts.vlans.into_iter().filter(|(_, vlan)| *vlan != 0).collect();
    let is_own = facts.mac >> 40 & 1 != 0 || facts.mac == NIC_MAC;
    let known: [&[(u16, u16)]; 3] = [&[], &[(VLAN, 1)], &[(VLAN, 1), (VLAN, 2)]];
    let is_known = known.contains(&vlans.as_slice());
    match (is_own, is_known) {
        (true, true) => None,
        (true, false) => Some(ForeignFrame::OtherVlan),
        (false, _) => Some(ForeignFrame::OtherStation),
    }
}

/// Returns how a rejected packet is answered.
fn answer(facts: &PacketFacts) -> Option<RejectWith> {
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
    let limit = match rng.u8(..12) {
        0 => ActionRecord::LIMIT_RULE,
        1 => ActionRecord::LIMIT_SOURCE,
        _ => 0,
    };
    let certain = if rng.u8(..4) == 0 {
        ActionRecord::NOT_CERTAIN
    } else {
        0
    };
    ActionRecord {
        rule,
        mark: rng.u32(..),
        action: rng.choice(actions).map_or(0, |action| action as u8),
        flags: rng.u8(..) & (ActionRecord::MARK | ActionRecord::PEER) | audit | limit | certain,
        ..ActionRecord::default()
    }
}

/// Returns a number of bounds in a block for a tree of two levels, or of three levels if there are enough
/// bounds.
fn bounds_to_a_block(bounds: usize) -> usize {
    if bounds.is_multiple_of(2) {
        PORTS.min(bounds.max(4).div_ceil(2))
    } else {
        (2..PORTS).find(|width| width.pow(3) >= bounds).unwrap_or(PORTS)
    }
}
