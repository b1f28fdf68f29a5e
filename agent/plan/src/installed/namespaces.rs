//! The numbers of namespaces, as the records of live blocks have them.

use std::collections::{BTreeMap, BTreeSet};

use xdp_core::tables::ActionRecord;

use super::Installed;

/// What the rules of a namespace share with those of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shared {
    /// Whether rules limit sources.
    pub(crate) sources: bool,
    /// Whether rules reject packets.
    pub(crate) answers: bool,
}

impl Shared {
    /// Returns what a rule shares.
    pub(crate) const fn of(record: &ActionRecord) -> Self {
        Self {
            sources: record.limits_sources(),
            answers: record.answers(),
        }
    }

    /// Returns what the rules of both share.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            sources: self.sources | other.sources,
            answers: self.answers | other.answers,
        }
    }
}

/// Namespaces with a number.
#[derive(Debug, Default)]
pub(crate) struct Numbers<'a> {
    /// Numbers by namespace. No two namespaces have one number.
    pub(crate) of: BTreeMap<&'a str, u16>,
    /// What the records with each number share. Also lists numbers of no namespace: blocks that another
    /// program has changed.
    pub(crate) live: BTreeMap<u16, Shared>,
}

impl<'a> Numbers<'a> {
    pub(crate) fn new(installed: &'a Installed) -> Self {
        let mut live = BTreeMap::<u16, Shared>::new();
        let mut claims = BTreeSet::new();
        let records = installed.blocks.actions.iter().map(|(_, record)| record);
        for record in records.filter(|record| record.namespace != 0) {
            let all = live.entry(record.namespace).or_default();
            *all = all.and(Shared::of(record));
            let label = installed.rules.get(&record.rule);
            claims.extend(label.map(|label| (record.namespace, label.namespace.as_str())));
        }
        let mut of = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for (number, namespace) in claims {
            if !of.contains_key(namespace) && taken.insert(number) {
                of.insert(namespace, number);
            }
        }
        Self { of, live }
    }
}
