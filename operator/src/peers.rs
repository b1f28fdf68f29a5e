//! The address sets: one for each distinct selection of pods that a policy's `from` names, kept up to date by
//! the changes of pods and namespaces, and compared with the stored slices. And those with the addresses of
//! the cluster itself, which NetworkPolicies mean.

mod members;

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
pub use members::{LARGEST, Members};
use xdp_client::object::ObjectName;
use xdp_crds::{
    XdpPeerSetSpec,
    limits::SELECTION_TEXT,
    network_policy::ClusterSet,
    policy::{PodSelection, SetId},
};

use crate::store::{ClusterState, CompiledSelection, LabelSet, PodFacts, StoredSlice};

/// One write of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Creates or updates a slice.
    Write(Box<Slice>),
    /// Deletes an object.
    Delete(ObjectName),
}

/// A slice to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The name of the object.
    pub name: ObjectName,
    /// The set.
    pub set: SetId,
    /// The content.
    pub spec: XdpPeerSetSpec,
}

/// All address sets, by identity.
#[derive(Debug, Default)]
pub struct PeerSets {
    sets: BTreeMap<SetId, PeerSet>,
}

#[derive(Debug)]
struct PeerSet {
    /// The selection for people.
    text: String,
    /// The pods whose addresses it has. `None`: it is a [`ClusterSet`].
    selection: Option<CompiledSelection>,
    /// The networks of [`ClusterSet::Ranges`].
    networks: Vec<IpNet>,
    /// The number of policies that name the selection, by namespace.
    users: BTreeMap<String, usize>,
    members: Members,
}

impl PeerSets {
    /// Adds a policy of `namespace` to the users of a set. Creates the set for its first user, from the pods
    /// and the stored slices.
    pub fn acquire(
        &mut self,
        selection: &PodSelection,
        id: &SetId,
        namespace: &str,
        cluster: &mut ClusterState,
    ) {
        let set = self.sets.entry(id.clone()).or_insert_with(|| {
            let compiled = cluster.labels.selection(selection);
            let addresses = selected(cluster, &compiled);
            PeerSet {
                text: shortened(&selection.to_string()),
                members: members(cluster, id, addresses),
                selection: Some(compiled),
                networks: Vec::new(),
                users: BTreeMap::new(),
            }
        });
        *set.users.entry(namespace.to_owned()).or_default() += 1;
    }

    /// Adds a user in `namespace` to a set of the cluster, as [`Self::acquire`] does. `content`: what it has.
    pub fn acquire_cluster_set(
        &mut self,
        set: ClusterSet,
        namespace: &str,
        (addresses, networks): (Vec<IpAddr>, Vec<IpNet>),
        cluster: &ClusterState,
    ) {
        let id = set.id();
        let entry = self.sets.entry(id.clone()).or_insert_with(|| PeerSet {
            text: set.text().to_owned(),
            members: members(cluster, &id, addresses),
            selection: None,
            networks,
            users: BTreeMap::new(),
        });
        *entry.users.entry(namespace.to_owned()).or_default() += 1;
    }

    /// Replaces addresses of a set of the cluster. Returns the set if it may have changed.
    pub fn replace_addresses(
        &mut self,
        set: ClusterSet,
        before: &[IpAddr],
        after: &[IpAddr],
    ) -> Option<SetId> {
        let id = set.id();
        self.sets.get_mut(&id)?.members.replace(before, after);
        (before != after).then_some(id)
    }

    /// Replaces the networks of [`ClusterSet::Ranges`]. Returns the set if they have changed.
    pub fn replace_networks(&mut self, networks: Vec<IpNet>) -> Option<SetId> {
        let id = ClusterSet::Ranges.id();
        let set = self.sets.get_mut(&id)?;
        if set.networks == networks {
            return None;
        }
        set.networks = networks;
        set.members.mark(0);
        Some(id)
    }

    /// Removes a policy of `namespace` from the users of a set. With its last user, the set is gone.
    pub fn release(&mut self, id: &SetId, namespace: &str) {
        let Some(set) = self.sets.get_mut(id) else {
            return;
        };
        if let Some(count) = set.users.get_mut(namespace) {
            *count -= 1;
            if *count == 0 {
                set.users.remove(namespace);
            }
        }
        if set.users.is_empty() {
            self.sets.remove(id);
        }
    }

    /// Follows a pod of a namespace with these labels. Returns the sets that may have changed.
    pub fn pod_changed(
        &mut self,
        (namespace, labels): (&str, Option<&LabelSet>),
        before: Option<&PodFacts>,
        after: Option<&PodFacts>,
    ) -> Vec<SetId> {
        let changed = self.sets.iter_mut().filter_map(|(id, set)| {
            let selection = set.selection.as_ref()?;
            if !selection.includes_namespace(namespace, labels) {
                return None;
            }
            let included = |pod: &&PodFacts| selection.includes_pod(&pod.labels);
            let (before, after) = (before.filter(included), after.filter(included));
            let addresses = |pod: Option<&PodFacts>| pod.map(|pod| pod.addresses.clone()).unwrap_or_default();
            let (before, after) = (addresses(before), addresses(after));
            (before != after).then(|| {
                set.members.replace(&before, &after);
                id.clone()
            })
        });
        changed.collect()
    }

    /// Follows the labels of a namespace, which has these pods. Returns the sets that may have changed.
    pub fn namespace_changed(
        &mut self,
        namespace: &str,
        before: Option<&LabelSet>,
        after: Option<&LabelSet>,
        pods: &[&PodFacts],
    ) -> Vec<SetId> {
        let mut changed = Vec::new();
        for (id, set) in &mut self.sets {
            let Some(selection) = &set.selection else {
                continue;
            };
            let was = selection.includes_namespace(namespace, before);
            let is = selection.includes_namespace(namespace, after);
            if was == is {
                continue;
            }
            let included = pods.iter().filter(|pod| selection.includes_pod(&pod.labels));
            for address in included.flat_map(|pod| pod.addresses.iter()) {
                if is {
                    set.members.insert(*address);
                } else {
                    set.members.remove(address);
                }
            }
            changed.push(id.clone());
        }
        changed
    }

    /// Follows a stored object. Returns the set it belongs to, used or not; `None` if its name is that of no
    /// slice.
    pub fn stored_changed(&mut self, name: &ObjectName) -> Option<SetId> {
        let (id, number) = parse_name(&name.name)?;
        let id = SetId::parse(id)?;
        if let Some(set) = self.sets.get_mut(&id) {
            set.members.mark(number);
        }
        Some(id)
    }

    /// Returns the next write of a set, and whether it is the last one. `None` if what is stored is what the
    /// set has. Without any agent's report, no agent reads slices, so there must be none.
    ///
    /// The writes are ordered so that each address is always in a valid slice: slice 0, which has the number
    /// of slices, is written after the others, and before surplus slices are deleted.
    pub fn next_step(&mut self, id: &SetId, cluster: &ClusterState) -> Option<(Step, bool)> {
        let stored = stored(cluster, id);
        let needed = !cluster.node_states.is_empty();
        let set = self.sets.get_mut(id).filter(|_| needed);
        let count = set.as_ref().map_or(0, |set| set.members.slice_count());
        let mut surplus = stored.range(count..).rev().map(|(_, (name, _))| (*name).clone());
        if let Some(set) = set {
            while let Some(number) = set.members.next_dirty() {
                let spec = set.slice(number);
                let is_stored = stored.get(&number).is_some_and(|(_, slice)| {
                    slice.spec.as_ref() == Some(&spec) && slice.set.as_deref() == Some(id.as_str())
                });
                if !is_stored {
                    let name = ObjectName::new(&cluster.namespace, name_of(id, number));
                    let slice = Slice {
                        name,
                        set: id.clone(),
                        spec,
                    };
                    let is_last = set.members.only_dirty(number) && surplus.next().is_none();
                    return Some((Step::Write(Box::new(slice)), is_last));
                }
                set.members.is_stored(number);
            }
        }
        let first = surplus.next()?;
        let is_last = surplus.next().is_none();
        Some((Step::Delete(first), is_last))
    }

    /// Returns the namespaces of the policies that use a set.
    pub fn users(&self, id: &SetId) -> impl Iterator<Item = &str> {
        let set = self.sets.get(id);
        set.into_iter()
            .flat_map(|set| set.users.keys().map(String::as_str))
    }

    /// Returns the number of addresses of a set.
    pub fn len_of(&self, id: &SetId) -> usize {
        self.sets.get(id).map_or(0, |set| set.members.address_count())
    }

    /// Returns the identities of all sets.
    pub fn ids(&self) -> impl Iterator<Item = &SetId> {
        self.sets.keys()
    }

    /// Returns the number of sets, and of the addresses in them.
    pub fn size(&self) -> (usize, usize) {
        let addresses = self.sets.values().map(|set| set.members.address_count()).sum();
        (self.sets.len(), addresses)
    }
}

impl PeerSet {
    fn slice(&self, number: u32) -> XdpPeerSetSpec {
        XdpPeerSetSpec {
            networks: self.networks.clone(),
            selection: self.text.clone(),
            slice: number,
            // Only slice 0 has the number of slices. Otherwise each slice would change with that number.
            slices: if number == 0 {
                self.members.slice_count()
            } else {
                number + 1
            },
            addresses: self.members.slice(number),
        }
    }
}

/// Returns the members of a set with these addresses. Each stays in the slice in which it is stored.
fn members(cluster: &ClusterState, id: &SetId, addresses: Vec<IpAddr>) -> Members {
    let stored = stored(cluster, id);
    let stored = stored
        .iter()
        .filter_map(|(number, (_, slice))| Some((*number, slice.spec.as_ref()?.addresses.as_slice())));
    Members::new(addresses, stored)
}

/// Returns the addresses of the pods that a selection includes, one entry for each pod.
fn selected(cluster: &ClusterState, selection: &CompiledSelection) -> Vec<IpAddr> {
    let pods: Box<dyn Iterator<Item = (&ObjectName, &PodFacts)>> = match selection.named_namespace() {
        Some(namespace) => Box::new(cluster.pods.within(namespace, "")),
        None => Box::new(cluster.pods.iter()),
    };
    let mut found = Vec::new();
    // Pods are ordered by namespace.
    let mut last: Option<(&str, bool)> = None;
    for (name, pod) in pods {
        let included = match last {
            Some((namespace, included)) if namespace == name.namespace => included,
            _ => selection.includes_namespace(&name.namespace, cluster.namespace_labels(&name.namespace)),
        };
        last = Some((&name.namespace, included));
        if included && selection.includes_pod(&pod.labels) {
            found.extend_from_slice(&pod.addresses);
        }
    }
    found
}

type Stored<'a> = BTreeMap<u32, (&'a ObjectName, &'a StoredSlice)>;

/// Returns the stored slices of a set.
fn stored<'a>(cluster: &'a ClusterState, id: &SetId) -> Stored<'a> {
    cluster
        .peer_sets
        .within(&cluster.namespace, id.as_str())
        .take_while(|(name, _)| name.name.starts_with(id.as_str()))
        .filter_map(|(name, slice)| {
            let (set, number) = parse_name(&name.name)?;
            (set == id.as_str()).then_some((number, (name, slice)))
        })
        .collect()
}

/// Returns the name of a slice.
fn name_of(id: &SetId, number: u32) -> String {
    format!("{id}-{number}")
}

/// Returns the identity and the number in the name of a slice. The operator does not write names such as
/// `…-07`.
fn parse_name(name: &str) -> Option<(&str, u32)> {
    let (set, digits) = name.rsplit_once('-')?;
    let number: u32 = digits.parse().ok()?;
    (number.to_string() == digits).then_some((set, number))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SELECTION_TEXT - 1) {
        Some((end, _)) if end < text.len() - 1 => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}
