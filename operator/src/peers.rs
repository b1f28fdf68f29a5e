//! The addresses behind selector peers: which slices there should be, and what to do about those there are.

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
    world::{Owner, PeerSet, PolicyObject, World},
};

/// A slice as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Which object.
    pub name: ObjectName,
    /// The policy it goes with.
    pub owner: Owner,
    /// What it says.
    pub spec: XdpPeerSetSpec,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a slice, or change it.
    Write(Box<Slice>),
    /// Remove a slice.
    Delete(ObjectName),
}

/// What is to be done for one peer. Where a step fails, those after it must wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Namespace, and what the names of the peer's slices begin with.
    pub peer: ObjectName,
    /// In this order.
    pub steps: Vec<Step>,
}

/// What should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What differs; nothing for peers whose slices are as they should be.
    pub chains: Vec<Chain>,
    /// Addresses in all slices.
    pub addresses: usize,
}

/// Compares slices with what policies and pods ask for.
///
/// While no agent has ever reported, or all have been uninstalled, nobody reads slices, and there are none.
pub fn plan(world: &World) -> Plan {
    let mut plan = Plan::default();
    let mut wanted = BTreeSet::new();
    if !world.node_states.is_empty() {
        for (name, policy) in world.policies.iter().filter(|(_, policy)| !policy.deleting) {
            for_policy(world, name, policy, &mut plan, &mut wanted);
        }
    }
    let superfluous = world
        .peer_sets
        .iter()
        .filter(|(name, set)| !wanted.contains(*name) && is_ours_to_delete(world, name, set));
    plan.chains.extend(superfluous.map(|(name, _)| Chain {
        peer: name.clone(),
        steps: vec![Step::Delete(name.clone())],
    }));
    plan
}

fn for_policy(
    world: &World,
    name: &ObjectName,
    policy: &PolicyObject,
    plan: &mut Plan,
    wanted: &mut BTreeSet<ObjectName>,
) {
    let owner = Owner {
        name: name.name.clone(),
        uid: policy.uid.clone(),
    };
    let peers = match &policy.content {
        Ok(content) => written::peers(content),
        Err(_) => written::stored(world, name),
    };
    for peer in &peers {
        let base = base(&name.name, &peer.written);
        let there = stored(world, &name.namespace, &base);
        let addresses = select::addresses(world, &name.namespace, peer);
        plan.addresses += addresses.len();
        let slices = slices(
            name,
            &owner,
            &peer.written,
            &base,
            reslice(&held(&there), &addresses),
        );
        wanted.extend(slices.iter().map(|slice| slice.name.clone()));
        let steps = steps(&there, slices);
        if !steps.is_empty() {
            // A slice too many is deleted as the last step here, not as garbage.
            wanted.extend(there.values().map(|(name, _)| (*name).clone()));
            let peer = ObjectName::new(&name.namespace, base);
            plan.chains.push(Chain { peer, steps });
        }
    }
}

type Stored<'a> = BTreeMap<u32, (&'a ObjectName, &'a PeerSet)>;

fn stored<'a>(world: &'a World, namespace: &'a str, base: &str) -> Stored<'a> {
    let prefix = format!("{base}-");
    world
        .peer_sets
        .within(namespace, &prefix)
        .take_while(|(name, _)| name.name.starts_with(&prefix))
        .filter_map(|(name, set)| {
            let number: u32 = name.name[prefix.len()..].parse().ok()?;
            // `-07` is nobody's slice.
            (name.name == names::slice(base, number)).then_some((number, (name, set)))
        })
        .collect()
}

fn held<'a>(there: &Stored<'a>) -> BTreeMap<u32, &'a [IpAddr]> {
    there
        .iter()
        .filter_map(|(number, (_, set))| Some((*number, set.spec.as_ref()?.addresses.as_slice())))
        .collect()
}

fn slices(
    policy: &ObjectName,
    owner: &Owner,
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
                // Only slice 0 says how many there are: otherwise all would change with their number.
                slices: if slice == 0 { count } else { slice + 1 },
                addresses,
            },
        })
        .collect()
}

/// Slice 0 says how many slices there are. It comes after those it speaks of, and before the deletion of the others:
/// so every address is always in a slice that counts.
fn steps(there: &Stored<'_>, slices: Vec<Slice>) -> Vec<Step> {
    let count = slices.len() as u32;
    let mut changed: Vec<_> = slices
        .into_iter()
        .filter(|slice| {
            !there
                .get(&slice.spec.slice)
                .is_some_and(|(_, set)| is_same(set, slice))
        })
        .map(|slice| Step::Write(Box::new(slice)))
        .collect();
    if matches!(changed.first(), Some(Step::Write(slice)) if slice.spec.slice == 0) {
        changed.rotate_left(1);
    }
    let surplus = there.range(count..).rev();
    changed.extend(surplus.map(|(_, (name, _))| Step::Delete((*name).clone())));
    changed
}

fn is_same(set: &PeerSet, slice: &Slice) -> bool {
    set.spec.as_ref() == Some(&slice.spec) && set.owner.as_ref() == Some(&slice.owner)
}

/// Slices of policies that are gone go with them, by their owner reference. While a policy is refused, agents keep what
/// was in force before, and its slices stay.
fn is_ours_to_delete(world: &World, name: &ObjectName, set: &PeerSet) -> bool {
    let Some(owner) = &set.owner else {
        return true;
    };
    let policy = world.policies.get(&ObjectName::new(&name.namespace, &owner.name));
    let nobody_reads = world.node_states.is_empty();
    policy.is_some_and(|policy| !policy.deleting && (policy.content.is_ok() || nobody_reads))
}
