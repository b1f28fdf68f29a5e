//! Compiles one pod's policies to blocks.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    compiled::Compiled,
    cost::{Cost, measure},
    flat::Flat,
    known::Known,
    layer::Layer,
    limits::{Excess, Limit},
    paint::Painter,
    sources::{LAST_V4, LAST_V6},
    sweep::{Sets, Toggle, toggles},
    tree::Builder,
};
use crate::{installed::Shared, network_policy::CertainTraffic, policy::Protocol};

/// A pod's policies before they are compiled: what that costs is known.
pub(super) struct Prepared {
    flat: Flat,
    layer: Option<Layer>,
    v4: Vec<Toggle>,
    v6: Vec<Toggle>,
    pub(super) cost: Cost,
}

impl Prepared {
    /// Prepares policies, in order. `named` are the pod's named ports, `certain` the packets to it that are
    /// certainly allowed.
    pub(super) fn new(
        policies: &[&Arc<Known>],
        named: &BTreeMap<(String, Protocol), u16>,
        certain: &CertainTraffic,
    ) -> Result<Self, Excess> {
        let flat = Flat::new(policies, named);
        Limit::Rules.check(flat.rules.len())?;
        let layer = Layer::new(&flat, certain);
        let sets = || {
            let of_layer = layer.iter().flat_map(|layer| &layer.sources);
            flat.sources.iter().chain(of_layer)
        };
        let v4 = toggles(sets().map(|set| &set.v4[..]), LAST_V4);
        let v6 = toggles(sets().map(|set| &set.v6[..]), LAST_V6);
        let ports = Painter::new(&flat, layer.as_ref()).intervals();
        let cost = measure(&flat, sets().count(), [&v4, &v6], ports)?;
        Ok(Self {
            flat,
            layer,
            v4,
            v6,
            cost,
        })
    }

    /// Compiles the policies.
    pub(super) fn build(self) -> Result<Compiled, Excess> {
        let Self {
            flat, layer, v4, v6, ..
        } = self;
        let mut sets = Sets::default();
        let (v4, v6) = (sets.sweep(&v4), sets.sweep(&v6));
        let mut painter = Painter::new(&flat, layer.as_ref());
        let mut builder = Builder::default();
        let known = (&flat, layer.as_ref());
        let classes = classes(known, &sets.list(), &mut painter, &mut builder)?;
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

/// Builds the class of each set of sources. The last number of a set may be that of a class of the layer.
fn classes(
    (flat, layer): (&Flat, Option<&Layer>),
    sets: &[&[u32]],
    painter: &mut Painter<'_>,
    builder: &mut Builder,
) -> Result<Vec<u32>, Excess> {
    let mut users = vec![Vec::new(); flat.sources.len()];
    for (rule, number) in flat.rules.iter().zip(0_u32..) {
        users[rule.sources as usize].push(number);
    }
    let class = |set: &&[u32]| {
        let of_rules = set.partition_point(|number| (*number as usize) < users.len());
        let (sources, certainty) = set.split_at(of_rules);
        let certainty = certainty.first().zip(layer);
        let certainty = certainty.map(|(number, layer)| &layer.classes[*number as usize - users.len()]);
        let users = sources.iter().flat_map(|sources| &users[*sources as usize]);
        let mut rules: Vec<u32> = users.copied().collect();
        rules.sort_unstable();
        builder.class(&painter.paint(&rules, certainty))
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
