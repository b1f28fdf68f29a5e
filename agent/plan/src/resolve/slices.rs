//! Replaces pod selectors by the addresses in the slices of `XdpPeerSet`s.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use xdp_crds::{PeerSelector, XdpPeerSetSpec};

use crate::policy::{Block, PodSource, Policy, Rule, Source, Sources};

/// An `XdpPeerSet`: a part of the addresses of one pod selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSlice {
    /// Namespace of the policy.
    pub namespace: String,
    /// The object's spec.
    pub spec: XdpPeerSetSpec,
}

/// Indexes slices by namespace and name of their policy.
pub(super) fn by_policy(slices: &[PeerSlice]) -> BTreeMap<(String, String), Vec<&PeerSlice>> {
    let mut index = BTreeMap::<_, Vec<&PeerSlice>>::new();
    for slice in slices {
        let key = (slice.namespace.clone(), slice.spec.policy.clone());
        index.entry(key).or_default().push(slice);
    }
    index
}

/// Returns the policy with blocks in place of pod selectors, or the selectors whose slices are incomplete.
pub(super) fn resolve(policy: &Policy, slices: &[&PeerSlice]) -> Result<Policy, Vec<PeerSelector>> {
    let mut missing = Vec::new();
    let rules = policy.rules.iter().map(|rule| Rule {
        from: sources(&rule.from, slices, &mut missing),
        ..rule.clone()
    });
    let rules = rules.collect();
    if missing.is_empty() {
        Ok(Policy {
            rules,
            ..policy.clone()
        })
    } else {
        Err(missing)
    }
}

fn sources(from: &Sources, slices: &[&PeerSlice], missing: &mut Vec<PeerSelector>) -> Sources {
    let Sources::Listed(listed) = from else {
        return Sources::Any;
    };
    let mut blocks = Vec::new();
    for source in listed {
        match source {
            Source::Block(_) => blocks.push(source.clone()),
            Source::Pods(pods) => match addresses(pods, slices) {
                Some(addresses) => blocks.extend(networks(&addresses)),
                None if missing.contains(&pods.written) => {}
                None => missing.push(pods.written.clone()),
            },
        }
    }
    Sources::Listed(blocks)
}

/// Returns all addresses of a pod selector, or `None` while a slice is missing.
fn addresses(source: &PodSource, slices: &[&PeerSlice]) -> Option<BTreeSet<IpAddr>> {
    let own = || slices.iter().filter(|slice| slice.spec.peer == source.written);
    let numbers: BTreeSet<u32> = own().map(|slice| slice.spec.slice).collect();
    let first = own().filter(|slice| slice.spec.slice == 0);
    let count = first.map(|slice| slice.spec.slices.max(1)).max()?;
    if numbers.range(..count).count() < count as usize {
        return None;
    }
    let counted = own().filter(|slice| slice.spec.slice < count);
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

/// Formats a selector for messages.
pub(super) fn as_json(selector: &PeerSelector) -> String {
    serde_json::to_string(selector).unwrap_or_else(|_| format!("{selector:?}"))
}
