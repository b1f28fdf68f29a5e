//! What it costs to compile a pod's rules. It is counted before any block is built.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
};

use super::{
    flat::{COLUMNS, Flat},
    limits::{Excess, Limit},
    sweep::Toggle,
};

/// The steps that [`super::build::Prepared::build`] will take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Bounds of networks.
    toggles: usize,
    /// Sets of sources that apply, summed over all intervals of sources.
    overlaps: usize,
    /// Rules, summed over the distinct sets.
    rules: usize,
    /// Intervals of ports, and ports of rules, summed over the distinct sets.
    ports: usize,
}

impl Cost {
    /// Returns the cost in units of about 20 ns.
    pub(super) const fn units(&self) -> usize {
        4 * self.toggles + self.overlaps + self.rules + self.ports / 4
    }
}

/// Counts the steps, and checks the limits of them. `sets`: the number of sets of sources, of which those
/// after the rules' own have no rules. `ports`: the intervals of ports that each set is cut into.
pub(super) fn measure(
    flat: &Flat,
    sets: usize,
    families: [&[Toggle]; 2],
    ports: usize,
) -> Result<Cost, Excess> {
    let (mut rules_of, mut ports_of) = (vec![0; sets], vec![0; sets]);
    for rule in &flat.rules {
        rules_of[rule.sources as usize] += 1;
        ports_of[rule.sources as usize] += rule.ports.as_ref().map_or(COLUMNS, Vec::len);
    }
    let mut count = Counter {
        keys: RandomState::new(),
        rules_of,
        ports_of,
        seen: HashSet::new(),
        cost: Cost::default(),
        ports,
    };
    for toggles in families {
        count.family(toggles)?;
    }
    Ok(count.cost)
}

/// The sets that apply in an interval: how many they are, their rules, and the ports of these; and the sum of
/// their keys.
#[derive(Clone, Copy, Default)]
struct Active {
    sets: usize,
    rules: usize,
    ports: usize,
    sum: u64,
}

impl Active {
    const fn with(self, rules: usize, ports: usize, key: u64) -> Self {
        Self {
            sets: self.sets + 1,
            rules: self.rules + rules,
            ports: self.ports + ports,
            sum: self.sum.wrapping_add(key),
        }
    }

    const fn without(self, rules: usize, ports: usize, key: u64) -> Self {
        Self {
            sets: self.sets - 1,
            rules: self.rules - rules,
            ports: self.ports - ports,
            sum: self.sum.wrapping_sub(key),
        }
    }
}

/// Recognises sets by the sum of their elements' keys, so that no set has to be built. The keys are random,
/// so a tenant cannot choose sets that are taken for each other.
struct Counter {
    keys: RandomState,
    rules_of: Vec<usize>,
    /// Ports of the rules.
    ports_of: Vec<usize>,
    seen: HashSet<u64>,
    cost: Cost,
    ports: usize,
}

impl Counter {
    fn family(&mut self, toggles: &[Toggle]) -> Result<(), Excess> {
        self.cost.toggles += toggles.len();
        let mut active = vec![false; self.rules_of.len()];
        let mut now = Active::default();
        let mut at = 0;
        // The interval that starts at zero exists, whether or not something is toggled there.
        let mut rest = toggles;
        loop {
            while let Some((first, tail)) = rest.split_first().filter(|(first, _)| first.0 == at) {
                let number = first.1 as usize;
                let key = self.keys.hash_one(number);
                active[number] = !active[number];
                let (rules, ports) = (self.rules_of[number], self.ports_of[number]);
                now = if active[number] {
                    now.with(rules, ports, key)
                } else {
                    now.without(rules, ports, key)
                };
                rest = tail;
            }
            self.interval(now)?;
            match rest.first() {
                Some(next) => at = next.0,
                None => return Ok(()),
            }
        }
    }

    fn interval(&mut self, now: Active) -> Result<(), Excess> {
        self.cost.overlaps += now.sets;
        Limit::Overlaps.check(self.cost.overlaps)?;
        if self.seen.insert(now.sum) {
            self.cost.rules += now.rules;
            Limit::Overlaps.check(self.cost.rules)?;
            self.cost.ports += self.ports + now.ports;
            Limit::PortSteps.check(self.cost.ports)?;
        }
        Ok(())
    }
}
