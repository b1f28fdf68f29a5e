//! Whether the policies of a namespace wait for its lists: otherwise, nothing would be certain for a moment
//! when a namespace gets its first pod or policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// How long lists may delay the policies of a namespace: without them, nothing is certain, and all other
/// rules act.
const DELAY: Duration = Duration::from_secs(5);

/// The wanted namespaces.
#[derive(Debug, Default)]
pub(super) struct DecidedNamespaces(BTreeMap<String, Decision>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// Its lists are waited for since then.
    Waiting(Instant),
    /// Its lists were known once, or cannot be. It stays so: a kind that comes later changes nothing.
    Made,
}

impl DecidedNamespaces {
    /// Decides about the wanted namespaces.
    pub(super) fn update(
        &mut self,
        wanted: &BTreeSet<&str>,
        is_answered: impl Fn(&str) -> bool,
        now: Instant,
    ) {
        self.0.retain(|name, _| wanted.contains(name.as_str()));
        for name in wanted {
            let decision = self.0.entry((*name).to_owned());
            let decision = decision.or_insert(Decision::Waiting(now));
            if let Decision::Waiting(since) = *decision
                && (now >= since + DELAY || is_answered(name))
            {
                *decision = Decision::Made;
            }
        }
    }

    /// Returns whether the policies of a namespace need not wait.
    pub(super) fn is_decided(&self, namespace: &str) -> bool {
        !matches!(self.0.get(namespace), Some(Decision::Waiting(_)))
    }
}
