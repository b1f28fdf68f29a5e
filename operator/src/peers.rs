//! Slices of the addresses that peers with selectors mean: compares the stored slices with the wanted ones.

mod names;
mod slices;
#[cfg(test)]
mod tests;
mod written;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

pub use names::base;
pub use slices::{LARGEST, reslice};
use xdp_client::object::ObjectName;
use xdp_crds::{PeerSelector, XdpPeerSetSpec};

use crate::{
    select,
    store::{ClusterState, PolicyObject, SliceOwner, StoredSlice},
};

/// A slice to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The name of the object.
    pub name: ObjectName,
    /// The policy that owns the slice.
    pub owner: SliceOwner,
    /// The content.
    pub spec: XdpPeerSetSpec,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Creates or updates a slice.
    Write(Box<Slice>),
    /// Deletes a slice.
    Delete(ObjectName),
}

/// The writes for one peer. If a step fails, the later steps must wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The namespace, and the prefix of the names of the peer's slices.
    pub peer: ObjectName,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// All writes of slices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One chain for each peer whose slices differ.
    pub chains: Vec<Chain>,
    /// The number of addresses in all slices.
    pub addresses: usize,
}

/// Compares the stored slices with those that the policies and pods require.
///
/// Without any agent's report, no agent reads slices, so no slices are required.
pub fn plan(cluster: &ClusterState) -> Plan {
    let mut plan = Plan::default();
    let mut wanted = BTreeSet::new();
    if !cluster.node_states.is_empty() {
        for (name, policy) in cluster.policies.iter().filter(|(_, policy)| !policy.deleting) {
            for_policy(cluster, name, policy, &mut plan, &mut wanted);
        }
    }
    let unneeded = cluster
        .peer_sets
        .iter()
        .filter(|(name, set)| !wanted.contains(*name) && may_delete(cluster, name, set));
    plan.chains.extend(unneeded.map(|(name, _)| Chain {
        peer: name.clone(),
        steps: vec![Step::Delete(name.clone())],
    }));
    plan
}

fn for_policy(
    cluster: &ClusterState,
    name: &ObjectName,
    policy: &PolicyObject,
    plan: &mut Plan,
    wanted: &mut BTreeSet<ObjectName>,
) {
    let owner = SliceOwner {
        name: name.name.clone(),
        uid: policy.uid.clone(),
    };
    let peers = match &policy.content {
        Ok(content) => written::peers(content),
        Err(_) => written::stored(cluster, name),
    };
    for peer in &peers {
        let base = base(&name.name, &peer.written);
        let present = stored(cluster, &name.namespace, &base);
        let addresses = select::addresses(cluster, &name.namespace, peer);
        plan.addresses += addresses.len();
        let slices = slices(
            name,
            &owner,
            &peer.written,
            &base,
            reslice(&addresses_of(&present), &addresses),
        );
        wanted.extend(slices.iter().map(|slice| slice.name.clone()));
        let steps = steps(&present, slices);
        if !steps.is_empty() {
            // The last step of the chain deletes surplus slices. They are not garbage.
            wanted.extend(present.values().map(|(name, _)| (*name).clone()));
            let peer = ObjectName::new(&name.namespace, base);
            plan.chains.push(Chain { peer, steps });
        }
    }
}

type Stored<'a> = BTreeMap<u32, (&'a ObjectName, &'a StoredSlice)>;

fn stored<'a>(cluster: &'a ClusterState, namespace: &'a str, base: &str) -> Stored<'a> {
    let prefix = format!("{base}-");
    cluster
        .peer_sets
        .within(namespace, &prefix)
        .take_while(|(name, _)| name.name.starts_with(&prefix))
        .filter_map(|(name, set)| {
            let number: u32 = name.name[prefix.len()..].parse().ok()?;
            // The operator does not write names such as `-07`.
            (name.name == names::slice(base, number)).then_some((number, (name, set)))
        })
        .collect()
}

fn addresses_of<'a>(present: &Stored<'a>) -> BTreeMap<u32, &'a [IpAddr]> {
    present
        .iter()
        .filter_map(|(number, (_, set))| Some((*number, set.spec.as_ref()?.addresses.as_slice())))
        .collect()
}

fn slices(
    policy: &ObjectName,
    owner: &SliceOwner,
    peer: &PeerSelector,
    base: &str,
    addresses: Vec<Vec<IpAddr>>,
) -> Vec<Slice> {
    let count = addresses.len() as u32;
    let numbered = (0..).zip(addresses);
    numbered
        .map(|(slice, addresses)| Slice {
            name: ObjectName::new(&policy.namespace, names::slice(base, slice)),
            owner: owner.clone(),
            spec: XdpPeerSetSpec {
                policy: policy.name.clone(),
                peer: peer.clone(),
                slice,
                // Only slice 0 has the number of slices. Otherwise each slice would change with that number.
                slices: if slice == 0 { count } else { slice + 1 },
                addresses,
            },
        })
        .collect()
}

/// Orders the writes so that each address is always in a valid slice: slice 0, which has the number of
/// slices, is written after the others, and before surplus slices are deleted.
fn steps(present: &Stored<'_>, slices: Vec<Slice>) -> Vec<Step> {
    let count = slices.len() as u32;
    let mut changed: Vec<_> = slices
        .into_iter()
        .filter(|slice| {
            !present
                .get(&slice.spec.slice)
                .is_some_and(|(_, set)| is_same(set, slice))
        })
        .map(|slice| Step::Write(Box::new(slice)))
        .collect();
    if matches!(changed.first(), Some(Step::Write(slice)) if slice.spec.slice == 0) {
        changed.rotate_left(1);
    }
    let surplus = present.range(count..).rev();
    changed.extend(surplus.map(|(_, (name, _))| Step::Delete((*name).clone())));
    changed
}

fn is_same(set: &StoredSlice, slice: &Slice) -> bool {
    set.spec.as_ref() == Some(&slice.spec) && set.owner.as_ref() == Some(&slice.owner)
}

/// Returns whether the operator has to delete an unneeded slice. Garbage collection deletes the slices of a
/// deleted policy. The slices of a refused policy stay, because agents keep its last valid version
/// programmed.
fn may_delete(cluster: &ClusterState, name: &ObjectName, set: &StoredSlice) -> bool {
    let Some(owner) = &set.owner else {
        return true;
    };
    let policy = cluster
        .policies
        .get(&ObjectName::new(&name.namespace, &owner.name));
    let unused = cluster.node_states.is_empty();
    policy.is_some_and(|policy| !policy.deleting && (policy.content.is_ok() || unused))
}
