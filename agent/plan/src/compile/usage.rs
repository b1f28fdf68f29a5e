//! What compiled rules take of the limits per node.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    compiled::Compiled,
    limits::{Excess, Limit},
};

/// The limits that namespaces share.
pub(super) const SHARED: [Limit; 6] = [
    Limit::Rules,
    Limit::Actions,
    Limit::SourcesV4,
    Limit::SourcesV6,
    Limit::Classes,
    Limit::PortBlocks,
];

/// A number for each of [`SHARED`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Usage(pub(super) [usize; SHARED.len()]);

impl Usage {
    /// Computes what the rules of a namespace's pods take. Pods with the same rules share their blocks.
    pub(super) fn of<'a>(rules: usize, compiled: impl Iterator<Item = &'a Arc<Compiled>>) -> Self {
        let distinct: BTreeMap<*const Compiled, &Arc<Compiled>> = compiled
            .map(|compiled| (Arc::as_ptr(compiled), compiled))
            .collect();
        let sum = |count: fn(&Compiled) -> usize| distinct.values().map(|compiled| count(compiled)).sum();
        let actions = distinct.values().flat_map(|compiled| {
            let labels = compiled.rules.iter().map(Arc::as_ptr);
            labels.zip(compiled.actions.iter().map(|record| record.flags))
        });
        let mut actions: Vec<_> = actions.collect();
        actions.sort_unstable();
        actions.dedup();
        Self([
            rules,
            actions.len(),
            sum(|compiled| compiled.sources_v4.len()),
            sum(|compiled| compiled.sources_v6.len()),
            sum(|compiled| compiled.classes.len()),
            sum(Compiled::port_blocks),
        ])
    }

    /// Returns the number for one of [`SHARED`].
    pub(super) const fn of_limit(&self, limit: Limit) -> usize {
        self.0[limit as usize]
    }

    /// Returns the first limit that is exceeded.
    pub(super) fn check(&self, allowed: &Self) -> Result<(), Excess> {
        let used = SHARED.into_iter().zip(self.0).zip(allowed.0);
        let exceeded =
            used.map(|((limit, found), allowed)| (found > allowed).then_some(Excess { limit, found }));
        exceeded.flatten().next().map_or(Ok(()), Err)
    }
}
