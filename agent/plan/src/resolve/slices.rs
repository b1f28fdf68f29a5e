//! Replaces pod selectors by the addresses in the slices of `XdpPeerSet`s.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use xdp_crds::{XdpPeerSetSpec, policy::SetId};

use super::WrittenPolicy;
use crate::policy::{Block, PodSource, Policy, Rule, Source, Sources};

/// An `XdpPeerSet`: a part of the addresses of one selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSlice {
    /// Identifies the selection. It is the object's label.
    pub set: SetId,
    /// The object's spec.
    pub spec: XdpPeerSetSpec,
}

/// Slices by the set that they belong to.
pub(super) type Slices<'a> = BTreeMap<&'a SetId, Vec<&'a PeerSlice>>;

/// Indexes slices by their set.
pub(super) fn by_set<'a>(slices: impl IntoIterator<Item = &'a PeerSlice>) -> Slices<'a> {
    let mut index = Slices::new();
    for slice in slices {
        index.entry(&slice.set).or_default().push(slice);
    }
    index
}

/// Returns the policy with blocks in place of pod selectors, or the sources whose slices are incomplete, each
/// set once.
pub(super) fn resolve<'a>(
    written: &'a WrittenPolicy,
    slices: &Slices<'_>,
) -> Result<Policy, Vec<&'a PodSource>> {
    let mut missing = BTreeMap::new();
    let mut sets = written.sets.iter();
    let rules = written.policy.rules.iter().map(|rule| Rule {
        from: sources(&rule.from, &mut sets, slices, &mut missing),
        ..rule.clone()
    });
    let rules = rules.collect();
    if missing.is_empty() {
        Ok(Policy {
            rules,
            ..written.policy.clone()
        })
    } else {
        Err(missing.into_values().collect())
    }
}

/// Takes one of `sets` for each source that selects pods.
fn sources<'a>(
    from: &'a Sources,
    sets: &mut impl Iterator<Item = &'a SetId>,
    slices: &Slices<'_>,
    missing: &mut BTreeMap<&'a SetId, &'a PodSource>,
) -> Sources {
    let Sources::Listed(listed) = from else {
        return Sources::Any;
    };
    let mut blocks = Vec::new();
    for source in listed {
        match source {
            Source::Block(_) => blocks.push(source.clone()),
            Source::Pods(pods) => {
                let set = sets.next().expect("each pod source has an identity");
                match addresses(slices.get(set).map_or(&[], Vec::as_slice)) {
                    Some(addresses) => blocks.extend(networks(&addresses)),
                    None => {
                        missing.entry(set).or_insert(pods);
                    }
                }
            }
        }
    }
    Sources::Listed(blocks)
}

/// Returns the addresses and networks of a set, or `None` while a slice is missing.
pub(crate) fn complete_set<'a>(slices: impl Iterator<Item = &'a PeerSlice>) -> Option<Vec<IpNet>> {
    let slices: Vec<&PeerSlice> = slices.collect();
    let addresses = addresses(&slices)?.into_iter().map(IpNet::from);
    let networks = slices
        .iter()
        .flat_map(|slice| slice.spec.networks.iter().copied());
    Some(addresses.chain(networks).collect())
}

/// Returns all addresses of a set, or `None` while a slice is missing.
fn addresses(slices: &[&PeerSlice]) -> Option<BTreeSet<IpAddr>> {
    let numbers: BTreeSet<u32> = slices.iter().map(|slice| slice.spec.slice).collect();
    let first = slices.iter().filter(|slice| slice.spec.slice == 0);
    let count = first.map(|slice| slice.spec.slices.max(1)).max()?;
    if numbers.range(..count).count() < count as usize {
        return None;
    }
    let counted = slices.iter().filter(|slice| slice.spec.slice < count);
    Some(
        counted
            .flat_map(|slice| &slice.spec.addresses)
            .map(IpAddr::to_canonical)
            .collect(),
    )
}

/// Aggregates addresses to the smallest number of networks, because each network is an entry in the tables.
fn networks(addresses: &BTreeSet<IpAddr>) -> impl Iterator<Item = Source> {
    let single: Vec<IpNet> = addresses.iter().copied().map(IpNet::from).collect();
    IpNet::aggregate(&single).into_iter().map(|cidr| {
        let except = Vec::new();
        Source::Block(Block { cidr, except })
    })
}
