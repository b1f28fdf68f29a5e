//! Finds out which kinds the API server serves, as their CRDs come and go.
//!
//! Watching the CRDs would cost far more: they are large, and few of them are of interest. So the list of
//! groups is polled, and only groups of interest are asked for their resources.

mod poll;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kube::{Client, api::ApiResource};
use tokio::time::sleep;

use self::poll::{GroupAnswer, poll};
use crate::backoff::{Backoff, jitter};

/// Mean time between two polls.
const INTERVAL: Duration = Duration::from_secs(15);
/// A kind is absent after this number of polls without it: an API server that has just started may not list
/// all groups yet.
const ABSENT_POLLS: u32 = 2;

/// A kind that a process wants to know about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindOfInterest {
    /// The group.
    pub group: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The versions to use, best first. If none of them is served, the one that the API server prefers.
    pub versions: &'static [&'static str],
}

/// A kind that the API server serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedKind {
    /// Group, version, kind, and the name in URLs.
    pub resource: ApiResource,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

/// What is known about all kinds of interest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedKinds {
    /// The kinds that are served.
    pub kinds: Vec<ServedKind>,
    /// The groups about which nothing is known: no poll has succeeded for them. Their kinds may be served.
    pub unknown: BTreeSet<&'static str>,
}

/// What a poll has changed.
#[derive(Debug)]
pub enum DiscoveryEvent {
    /// These kinds are served now.
    Changed(ServedKinds),
    /// A request failed. What was known before is still assumed.
    Failed(kube::Error),
    /// A poll without failures has followed one with a failure.
    Recovered,
}

impl ServedKinds {
    /// Returns a kind if it is served.
    pub fn get(&self, group: &str, kind: &str) -> Option<&ServedKind> {
        self.kinds
            .iter()
            .find(|served| served.resource.group == group && served.resource.kind == kind)
    }
}

/// Polls for as long as the process runs. Calls `report` after the first poll, and after each change.
pub async fn follow_kinds(
    client: &Client,
    interests: Vec<KindOfInterest>,
    mut report: impl FnMut(DiscoveryEvent),
) {
    let mut discovery = Discovery::new(interests);
    let mut failures = 0;
    loop {
        let (answers, failure) = poll(client, &discovery.interests).await;
        if let Some(served) = discovery.record(answers) {
            report(DiscoveryEvent::Changed(served));
        }
        let delay = if let Some(error) = failure {
            report(DiscoveryEvent::Failed(error));
            failures += 1;
            Backoff::API.delay(failures - 1, jitter())
        } else {
            if failures > 0 {
                report(DiscoveryEvent::Recovered);
            }
            failures = 0;
            INTERVAL.mul_f32(0.75 + jitter() / 2.0)
        };
        sleep(delay).await;
    }
}

/// What polls have answered so far.
#[derive(Debug)]
struct Discovery {
    interests: Vec<KindOfInterest>,
    /// The kinds of each group that has been answered for.
    groups: BTreeMap<&'static str, Vec<KnownKind>>,
    reported: Option<ServedKinds>,
}

#[derive(Debug)]
struct KnownKind {
    served: ServedKind,
    /// The number of polls, up to the last one, that did not have it.
    missed: u32,
}

impl Discovery {
    fn new(interests: Vec<KindOfInterest>) -> Self {
        Self {
            interests,
            groups: BTreeMap::new(),
            reported: None,
        }
    }

    /// Records the answers of a poll. A group without an answer stays as it was. Returns what is known now if
    /// that has changed, or was never reported.
    fn record(&mut self, answers: BTreeMap<&'static str, GroupAnswer>) -> Option<ServedKinds> {
        for (group, answer) in answers {
            let known = self.groups.entry(group).or_default();
            for old in &mut *known {
                old.missed += 1;
            }
            for served in answer {
                let kind = |known: &&mut KnownKind| known.served.resource.kind == served.resource.kind;
                match known.iter_mut().find(kind) {
                    Some(old) => *old = KnownKind { served, missed: 0 },
                    None => known.push(KnownKind { served, missed: 0 }),
                }
            }
            known.retain(|kind| kind.missed < ABSENT_POLLS);
        }
        let now = self.served();
        let changed = self.reported.as_ref() != Some(&now);
        changed.then(|| self.reported.insert(now).clone())
    }

    fn served(&self) -> ServedKinds {
        let groups = self.interests.iter().map(|interest| interest.group);
        let kinds = self.groups.values().flatten();
        let mut kinds: Vec<ServedKind> = kinds.map(|known| known.served.clone()).collect();
        let order = |served: &ServedKind| (served.resource.group.clone(), served.resource.kind.clone());
        kinds.sort_by_key(order);
        ServedKinds {
            kinds,
            unknown: groups.filter(|group| !self.groups.contains_key(group)).collect(),
        }
    }
}
