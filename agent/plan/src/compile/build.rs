//! Compiles one pod's policies to blocks.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    compiled::Compiled,
    cost::{Cost, measure},
    flat::Flat,
    known::Known,
    limits::{Excess, Limit},
    paint::Painter,
    sources::{LAST_V4, LAST_V6},
    sweep::{Sets, Toggle, toggles},
    tree::Builder,
};
use crate::{installed::Shared, policy::Protocol};

/// A pod's policies before they are compiled: what that costs is known.
pub(super) struct Prepared {
    flat: Flat,
    v4: Vec<Toggle>,
    v6: Vec<Toggle>,
    pub(super) cost: Cost,
}

impl Prepared {
    /// Prepares policies, in order. `named` are the pod's named ports.
    pub(super) fn new(
        policies: &[&Arc<Known>],
        named: &BTreeMap<(String, Protocol), u16>,
    ) -> Result<Self, Excess> {
        let flat = Flat::new(policies, named);
        Limit::Rules.check(flat.rules.len())?;
        let v4 = toggles(flat.sources.iter().map(|set| &set.v4[..]), LAST_V4);
        let v6 = toggles(flat.sources.iter().map(|set| &set.v6[..]), LAST_V6);
        let cost = measure(&flat, [&v4, &v6], Painter::new(&flat).intervals())?;
        Ok(Self { flat, v4, v6, cost })
    }

    /// Compiles the policies.
    pub(super) fn build(self) -> Result<Compiled, Excess> {
        let Self { flat, v4, v6, .. } = self;
        let mut sets = Sets::default();
        let (v4, v6) = (sets.sweep(&v4), sets.sweep(&v6));
        let mut painter = Painter::new(&flat);
        let mut builder = Builder::default();
        let classes = classes(&flat, &sets.list(), &mut painter, &mut builder)?;
        builder.sources_v4(&merged(v4, &classes))?;
        builder.sources_v6(&merged(v6, &classes))?;
        let shared = painter.actions.iter().map(Shared::of);
        Ok(Compiled {
            shared: shared.fold(Shared::default(), Shared::and),
            rules: painter.labels,
            actions: painter.actions,
            ..builder.compiled
        })
    }
}

/// Builds the class of each set of sources.
fn classes(
    flat: &Flat,
    sets: &[&[u32]],
    painter: &mut Painter<'_>,
    builder: &mut Builder,
) -> Result<Vec<u32>, Excess> {
    let mut users = vec![Vec::new(); flat.sources.len()];
    for (rule, number) in flat.rules.iter().zip(0_u32..) {
        users[rule.sources as usize].push(number);
    }
    let class = |set: &&[u32]| {
        let users = set.iter().flat_map(|sources| &users[*sources as usize]);
        let mut rules: Vec<u32> = users.copied().collect();
        rules.sort_unstable();
        builder.class(&painter.paint(&rules))
    };
    sets.iter().map(class).collect()
}

/// Merges adjacent intervals of one class.
fn merged(parts: Vec<(u128, u32)>, classes: &[u32]) -> Vec<(u128, u32)> {
    let class = |(lower, set): (u128, u32)| (lower, classes[set as usize]);
    let mut bounds: Vec<_> = parts.into_iter().map(class).collect();
    bounds.dedup_by_key(|(_, class)| *class);
    bounds
}
