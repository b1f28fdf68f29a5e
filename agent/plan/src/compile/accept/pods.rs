//! Accepts target pods: slots and addresses are shared out by namespace, like all tables.

use std::collections::BTreeMap;

use xdp_core::tables::{MAX_ADDRESSES, MAX_SLOTS};

use super::super::{
    Compiler,
    shares::{Allotment, Demand, allot},
};
use crate::{report::Problem, targets::Target};

/// A limit of pods on a node.
#[derive(Clone, Copy)]
struct PodLimit {
    name: &'static str,
    value: u32,
    counts: &'static str,
    of: fn(&Target) -> usize,
}

const LIMITS: [PodLimit; 2] = [
    PodLimit {
        name: "MAX_SLOTS",
        value: MAX_SLOTS,
        counts: "target pods",
        of: |_| 1,
    },
    PodLimit {
        name: "MAX_ADDRESSES",
        value: MAX_ADDRESSES,
        counts: "addresses of target pods",
        of: |target| target.addresses.len(),
    },
];

/// Returns the targets that fit, in order.
pub(super) fn fitting<'a>(
    all: &'a [Target],
    compiler: &Compiler,
    problems: &mut Vec<Problem>,
) -> Vec<&'a Target> {
    let mut namespaces: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, target) in all.iter().enumerate() {
        namespaces.entry(&target.pod.namespace).or_default().push(index);
    }
    let is_held = |index: &usize| compiler.is_pod_held(&all[*index]);
    let allotted = LIMITS.map(|limit| {
        let demand = |(namespace, indexes): (&&str, &Vec<usize>)| {
            let of = |index: &usize| (limit.of)(&all[*index]);
            Demand {
                weight: compiler.shares.weight(namespace),
                held: indexes.iter().filter(|index| is_held(index)).map(of).sum(),
                wanted: indexes.iter().map(of).sum(),
            }
        };
        let demands: Vec<Demand> = namespaces.iter().map(demand).collect();
        let value = limit.value as usize;
        allot(value, compiler.shares.most(value), &demands)
    });
    let mut fits = vec![true; all.len()];
    for (position, (namespace, mut indexes)) in namespaces.into_iter().enumerate() {
        indexes.sort_by_key(|index| !is_held(index));
        let mut used = [0; LIMITS.len()];
        for index in indexes {
            let next: [usize; 2] = std::array::from_fn(|limit| used[limit] + (LIMITS[limit].of)(&all[index]));
            let exceeded = (0..LIMITS.len()).find(|limit| next[*limit] > allotted[*limit][position].allowed);
            match exceeded {
                None => used = next,
                Some(limit) => {
                    fits[index] = false;
                    let share = allotted[limit][position];
                    problems.push(problem(
                        &all[index],
                        LIMITS[limit],
                        (namespace, share, next[limit]),
                    ));
                }
            }
        }
    }
    all.iter()
        .zip(fits)
        .filter_map(|(target, fits)| fits.then_some(target))
        .collect()
}

fn problem(target: &Target, limit: PodLimit, (namespace, share, found): (&str, Allotment, usize)) -> Problem {
    let PodLimit {
        name, value, counts, ..
    } = limit;
    let Allotment { sure, allowed } = share;
    Problem::new(
        target.pod.to_string(),
        name,
        format!(
            "the limit {name} is {value} {counts} per node, shared out by namespace: `{namespace}` has {sure} for sure, may \
             use {allowed} now, and would use {found} with this pod; no rule applies to this pod"
        ),
        "select fewer pods, spread them over more nodes, or ask the administrator for a larger share",
    )
}
