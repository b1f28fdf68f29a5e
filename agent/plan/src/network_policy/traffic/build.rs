//! Evaluates policies for all packets.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        NotCertain, NotCertainReason, PodPolicies,
        pod::RuleTest,
        ports::{self, Transport},
        tiers::Uncertain,
    },
    CertainTraffic, PortCertainty,
};
use crate::compile::{
    sources::{LAST_V4, LAST_V6},
    sweep::{Sets, Toggle, toggles},
};

/// The most sets that sources are in, summed over all intervals of sources.
const MAX_OVERLAPS: usize = 1 << 22;
/// The most peers and ports of rules that are tested, summed over all classes and intervals of ports.
const MAX_STEPS: usize = 1 << 23;

impl PodPolicies<'_> {
    /// Evaluates the policies for all packets. If they are too many for that, no packet is certain.
    pub fn certain_traffic(&self) -> CertainTraffic {
        if let Some(nothing) = &self.nothing {
            return CertainTraffic::nothing(nothing.clone());
        }
        if self.policies.is_empty() {
            return CertainTraffic::everything();
        }
        self.evaluate_all().unwrap_or_else(|| {
            let too_many = (0, NotCertainReason::TooManyRules);
            CertainTraffic::nothing(self.not_certain(too_many))
        })
    }

    fn evaluate_all(&self) -> Option<CertainTraffic> {
        let families = [(0, LAST_V4), (1, LAST_V6)];
        let [v4, v6] = families.map(|(family, last)| {
            let lists = self.lists.sets.iter();
            toggles(lists.map(|set| set.intervals()[family]), last)
        });
        if overlaps(&v4) + overlaps(&v6) > MAX_OVERLAPS {
            return None;
        }
        let mut sets = Sets::default();
        let (v4, v6) = (sets.sweep(&v4), sets.sweep(&v6));
        let mut builder = Builder::new(self);
        let classes = sets.list().into_iter().map(|set| builder.class(set));
        let classes = classes.collect::<Option<Vec<u32>>>()?;
        Some(CertainTraffic {
            v4: merged(v4, &classes),
            v6: merged(v6, &classes),
            classes: builder.classes,
            reasons: builder.reasons,
        })
    }
}

/// Returns the number of sets that sources are in, summed over all bounds.
fn overlaps(toggles: &[Toggle]) -> usize {
    let mut active = BTreeSet::new();
    let count = |(_, set): &Toggle| {
        if !active.remove(set) {
            active.insert(*set);
        }
        active.len()
    };
    toggles.iter().map(count).sum()
}

/// Merges adjacent intervals of one class.
fn merged(parts: Vec<(u128, u32)>, classes: &[u32]) -> Vec<(u128, u32)> {
    let class = |(first, set): (u128, u32)| (first, classes[set as usize]);
    let mut parts: Vec<_> = parts.into_iter().map(class).collect();
    parts.dedup_by_key(|(_, class)| *class);
    parts
}

/// Builds classes and reasons, each once.
struct Builder<'a> {
    pod: &'a PodPolicies<'a>,
    /// Rules that match only sources in a set, by the set's number.
    rules_of: Vec<Vec<usize>>,
    /// Rules that may match sources in no set.
    rules_of_all: Vec<usize>,
    classes: Vec<PortCertainty>,
    numbers: BTreeMap<PortCertainty, u32>,
    reasons: Vec<NotCertain>,
    reason_numbers: BTreeMap<NotCertain, u32>,
    /// Peers and ports that were tested.
    steps: usize,
}

impl<'a> Builder<'a> {
    fn new(pod: &'a PodPolicies<'a>) -> Self {
        let mut rules_of = vec![Vec::new(); pod.lists.sets.len()];
        let mut rules_of_all = Vec::new();
        for (index, rule) in pod.rules.iter().enumerate() {
            match rule.from.sets() {
                None => rules_of_all.push(index),
                Some(sets) => sets
                    .into_iter()
                    .for_each(|set| rules_of[set as usize].push(index)),
            }
        }
        Self {
            pod,
            rules_of,
            rules_of_all,
            classes: Vec::new(),
            numbers: BTreeMap::new(),
            reasons: Vec::new(),
            reason_numbers: BTreeMap::new(),
            steps: 0,
        }
    }

    /// Returns the number of the class of sources that are in these sets, and in no other. `None`: that takes
    /// too many steps.
    fn class(&mut self, sets: &[u32]) -> Option<u32> {
        let ports = self.ports(sets)?;
        let classes = &mut self.classes;
        let number = *self.numbers.entry(ports).or_insert_with_key(|ports| {
            classes.push(ports.clone());
            classes.len() as u32 - 1
        });
        Some(number)
    }

    fn ports(&mut self, sets: &[u32]) -> Option<PortCertainty> {
        let pod = self.pod;
        if let Err(uncertain) = pod.check_source(|set| sets.binary_search(&set).is_ok()) {
            return Some(PortCertainty::all(self.number(Err(uncertain))));
        }
        let rules = self.relevant(sets);
        Some(PortCertainty {
            tcp: self.line(sets, &rules, Transport::Tcp)?,
            udp: self.line(sets, &rules, Transport::Udp)?,
            other: self.number(pod.check_other_protocols()),
        })
    }

    /// Returns the rules that may match sources in these sets, in order.
    fn relevant(&self, sets: &[u32]) -> Vec<&'a RuleTest> {
        let listed = sets.iter().flat_map(|set| &self.rules_of[*set as usize]);
        let mut indexes: Vec<usize> = listed.chain(&self.rules_of_all).copied().collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes.into_iter().map(|index| &self.pod.rules[index]).collect()
    }

    fn line(
        &mut self,
        sets: &[u32],
        rules: &[&'a RuleTest],
        transport: Transport,
    ) -> Option<Vec<(u16, u32)>> {
        let has = |set: u32| sets.binary_search(&set).is_ok();
        let candidates: Vec<_> = rules.iter().map(|rule| (*rule, rule.from.matches(has))).collect();
        let bounds = ports::bounds(rules.iter().flat_map(|rule| &rule.ports), transport);
        let tests: usize = rules.iter().map(|rule| rule.size()).sum();
        self.steps += tests * bounds.len();
        if self.steps > MAX_STEPS {
            return None;
        }
        let mut line = Vec::new();
        for port in bounds {
            let certain = self.pod.evaluate(candidates.iter().copied(), transport, port);
            line.push((port, self.number(certain)));
        }
        line.dedup_by_key(|(_, number)| *number);
        Some(line)
    }

    fn number(&mut self, certain: Result<(), Uncertain>) -> u32 {
        match certain {
            Ok(()) => 0,
            Err(uncertain) => self.reason(self.pod.not_certain(uncertain)),
        }
    }

    fn reason(&mut self, reason: NotCertain) -> u32 {
        let reasons = &mut self.reasons;
        *self.reason_numbers.entry(reason).or_insert_with_key(|reason| {
            reasons.push(reason.clone());
            reasons.len() as u32
        })
    }
}
