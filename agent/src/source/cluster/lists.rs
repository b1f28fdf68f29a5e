//! `NetworkPolicies` and the like, of all kinds that the API server serves, without IO.

mod decided;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ApiResource;
use xdp_client::{
    discovery::{KindOfInterest, ServedKind, ServedKinds},
    object::Versioned,
    watch::Event,
};
use xdp_crds::network_policy::{
    ADMIN_NETWORK_POLICY, BASELINE_ADMIN_NETWORK_POLICY, CLUSTER_NETWORK_POLICY, NETWORK_POLICY, PolicyKind,
};
use xdp_plan::network_policy::{IgnoredKind, KnownPolicy, NodePolicies, UnlistedPolicies, all_kinds};

use self::decided::DecidedNamespaces;
use crate::source::cluster::keyed::{KeyedStore, Shape};

/// Each namespace has a watch of its own.
const SHAPE: Shape = Shape {
    keys: 1,
    watches: usize::MAX,
    interval: Duration::ZERO,
};
/// How long lists may delay the start. Later, nothing is certain for the pods that they concern: all other
/// rules must not wait for a kind that the API server cannot list.
const PATIENCE: Duration = Duration::from_mins(1);
/// The only key of a cluster-scoped kind.
const CLUSTER: &str = "";

/// The lists of all kinds.
pub(super) struct PolicyLists {
    /// The kinds that are read where they are served.
    kinds: BTreeSet<PolicyKind>,
    served: BTreeMap<PolicyKind, KindLists>,
    /// The groups of which it is unknown whether they are served.
    unknown: BTreeSet<&'static str>,
    /// The namespaces that have pods here and a policy. `None`: they are not known yet.
    namespaces: Option<BTreeSet<String>>,
    decided: DecidedNamespaces,
    /// Since when the lists delay the start.
    waiting: Option<Instant>,
    ready: bool,
}

/// A kind that is served.
struct KindLists {
    served: ServedKind,
    store: KeyedStore<KnownPolicy>,
}

impl KindLists {
    fn new(served: ServedKind) -> Self {
        Self {
            served,
            store: KeyedStore::new(SHAPE),
        }
    }

    const fn is_namespaced(&self) -> bool {
        self.served.namespaced
    }

    fn want(&mut self, namespaces: &BTreeSet<String>, now: Instant) -> bool {
        if self.is_namespaced() {
            self.store.want(namespaces, now)
        } else {
            self.store.want(&BTreeSet::from([CLUSTER.to_owned()]), now)
        }
    }
}

impl PolicyLists {
    /// Creates empty lists of all kinds but the ignored ones.
    pub(super) fn new(ignored: &[IgnoredKind]) -> Self {
        let kinds: BTreeSet<PolicyKind> = all_kinds()
            .filter(|kind| !ignored.contains(&IgnoredKind(*kind)))
            .collect();
        let always = kinds.contains(&NETWORK_POLICY);
        let always = always.then(|| (NETWORK_POLICY, KindLists::new(network_policies())));
        let groups = kinds.iter().filter(|kind| **kind != NETWORK_POLICY);
        Self {
            unknown: groups.map(|kind| kind.group).collect(),
            kinds,
            served: always.into_iter().collect(),
            namespaces: None,
            decided: DecidedNamespaces::default(),
            waiting: None,
            ready: false,
        }
    }

    /// Returns the kinds that are read where they are served.
    pub(super) const fn kinds(&self) -> &BTreeSet<PolicyKind> {
        &self.kinds
    }

    /// Returns the kinds to ask for, and the versions that can be read.
    pub(super) fn interests(&self) -> Vec<KindOfInterest> {
        let kinds = self.kinds.iter().filter(|kind| **kind != NETWORK_POLICY);
        let interest = |kind: &PolicyKind| KindOfInterest {
            group: kind.group,
            kind: kind.kind,
            versions: versions(*kind),
        };
        kinds.map(interest).collect()
    }

    /// Replaces what is known of the kinds. Returns those whose watches have to change.
    pub(super) fn set_served(&mut self, served: &ServedKinds, now: Instant) -> Vec<PolicyKind> {
        self.unknown.clone_from(&served.unknown);
        let mut changed = Vec::new();
        for kind in self.kinds.iter().filter(|kind| **kind != NETWORK_POLICY) {
            let now_served = served.get(kind.group, kind.kind);
            if self.served.get(kind).map(|lists| &lists.served) == now_served {
                continue;
            }
            changed.push(*kind);
            self.served.remove(kind);
            if let Some(now_served) = now_served {
                let mut lists = KindLists::new(now_served.clone());
                if let Some(namespaces) = &self.namespaces {
                    lists.want(namespaces, now);
                }
                self.served.insert(*kind, lists);
            }
        }
        changed
    }

    /// Returns how the API server serves a kind. `None`: it does not.
    pub(super) fn served(&self, kind: PolicyKind) -> Option<ServedKind> {
        Some(self.served.get(&kind)?.served.clone())
    }

    /// Returns the objects of a kind if it is served.
    pub(super) fn store(&mut self, kind: PolicyKind) -> Option<&mut KeyedStore<KnownPolicy>> {
        Some(&mut self.served.get_mut(&kind)?.store)
    }

    /// Wants the policies of these namespaces. Returns whether that changes the watches.
    pub(super) fn want(&mut self, namespaces: &BTreeSet<String>, now: Instant) -> bool {
        let changed = self.want_lists(namespaces, now);
        self.decide(now);
        changed
    }

    fn want_lists(&mut self, namespaces: &BTreeSet<String>, now: Instant) -> bool {
        if self.namespaces.as_ref() == Some(namespaces) {
            return false;
        }
        let mut changed = false;
        for lists in self.served.values_mut() {
            changed |= lists.want(namespaces, now);
        }
        self.namespaces = Some(namespaces.clone());
        changed
    }

    fn decide(&mut self, now: Instant) {
        let namespaces: BTreeSet<&str> = self.namespaces.iter().flatten().map(String::as_str).collect();
        let is_answered = |name: &str| {
            let mut lists = self.served.values().filter(|lists| lists.is_namespaced());
            lists.all(|lists| lists.store.is_answered(name))
        };
        self.decided.update(&namespaces, is_answered, now);
    }

    /// Returns whether policies of a namespace need not wait for its lists.
    pub(super) fn is_decided(&self, namespace: &str) -> bool {
        self.decided.is_decided(namespace)
    }

    /// Decides about the start. `labels`: the labels of the namespaces are known.
    pub(super) fn advance(&mut self, labels: bool, now: Instant) {
        if self.ready || self.namespaces.is_none() {
            return;
        }
        let waiting = *self.waiting.get_or_insert(now);
        self.ready = labels && self.unlisted().is_empty() || now >= waiting + PATIENCE;
    }

    /// Returns whether enough is known to change what is programmed. It stays so.
    pub(super) const fn is_ready(&self) -> bool {
        self.ready
    }

    /// Returns the number of lists that are not known, and of all.
    pub(super) fn unknown(&self) -> (usize, usize) {
        let counts = self.served.values().map(|lists| lists.store.unknown());
        counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    }

    /// Applies an event. Returns whether it concerns a pod of this node.
    pub(super) fn apply(
        &mut self,
        (kind, id): (PolicyKind, u64),
        event: Event<Versioned<KnownPolicy>>,
        now: Instant,
        concerns: impl Fn(&KnownPolicy) -> bool,
    ) -> bool {
        let Some(lists) = self.served.get_mut(&kind) else {
            return false;
        };
        let mut concerned = false;
        let listed = lists.store.apply_observed(id, event, now, |(_, old, new)| {
            concerned = concerned || [old, new].into_iter().flatten().any(&concerns);
        });
        concerned || listed
    }

    /// Returns all policies, and what is not known.
    pub(super) fn policies(&self) -> NodePolicies<'_> {
        let mut policies = NodePolicies {
            unlisted: self.unlisted(),
            ..NodePolicies::default()
        };
        for lists in self.served.values() {
            for policy in lists.store.objects().into_values() {
                match policy.name().namespace.as_deref() {
                    Some(namespace) => policies.of_namespaces.entry(namespace).or_default().push(policy),
                    None => policies.of_cluster.push(policy),
                }
            }
        }
        policies
    }

    fn unlisted(&self) -> Vec<UnlistedPolicies<'_>> {
        let mut unlisted = Vec::new();
        for kind in &self.kinds {
            let is_unknown = self.unknown.contains(kind.group) && *kind != NETWORK_POLICY;
            match self.served.get(kind) {
                Some(lists) if lists.is_namespaced() => {
                    let namespaces = self.namespaces.iter().flatten();
                    let namespaces = namespaces.filter(|name| !lists.store.is_known(name));
                    unlisted.extend(namespaces.map(|name| UnlistedPolicies {
                        kind: *kind,
                        namespace: Some(name),
                    }));
                }
                Some(lists) if lists.store.is_known(CLUSTER) => {}
                None if !is_unknown => {}
                Some(_) | None => unlisted.push(UnlistedPolicies {
                    kind: *kind,
                    namespace: None,
                }),
            }
        }
        unlisted
    }
}

/// Returns how every API server serves `NetworkPolicies`.
fn network_policies() -> ServedKind {
    ServedKind {
        resource: ApiResource::erase::<NetworkPolicy>(&()),
        namespaced: true,
    }
}

/// Returns the versions of a kind that can be read, best first. Empty: any.
fn versions(kind: PolicyKind) -> &'static [&'static str] {
    match kind {
        kind if kind == CLUSTER_NETWORK_POLICY => &["v1alpha2"],
        kind if kind == ADMIN_NETWORK_POLICY || kind == BASELINE_ADMIN_NETWORK_POLICY => &["v1alpha1"],
        _ => &[],
    }
}
