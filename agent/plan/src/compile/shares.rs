//! Shares out what a limit of the node allows, by namespace.
//!
//! Each namespace that uses a table has a part for sure. What others leave free may be borrowed, and is given
//! back when its owner comes. What is programmed is never displaced by what another namespace wants to
//! borrow.

use std::{collections::BTreeMap, str::FromStr};

/// How the administrator shares out the tables of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    weights: BTreeMap<String, u32>,
    most_percent: u32,
}

impl Default for Shares {
    /// All namespaces are equal, and one may use a whole table while the others do not need it.
    fn default() -> Self {
        Self {
            weights: BTreeMap::new(),
            most_percent: 100,
        }
    }
}

/// The largest weight of a namespace.
pub const MAX_WEIGHT: u32 = 1000;

/// A weight that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// It has another form.
    #[error("`{0}` is not a namespace with its weight; write NAMESPACE=WEIGHT, such as games=3")]
    Form(String),
    /// It is not a number in the range.
    #[error("the weight of namespace `{0}` is not a number from 1 to {MAX_WEIGHT}")]
    Range(String),
}

/// A namespace and its weight, written `NAMESPACE=WEIGHT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceWeight {
    /// The namespace.
    pub namespace: String,
    /// From 1 to [`MAX_WEIGHT`]. All others have 1.
    pub weight: u32,
}

impl FromStr for NamespaceWeight {
    type Err = WeightError;

    fn from_str(text: &str) -> Result<Self, WeightError> {
        let (namespace, weight) = text
            .split_once('=')
            .filter(|(namespace, _)| !namespace.is_empty())
            .ok_or_else(|| WeightError::Form(text.to_owned()))?;
        let number = weight
            .parse()
            .ok()
            .filter(|weight| (1..=MAX_WEIGHT).contains(weight));
        Ok(Self {
            namespace: namespace.to_owned(),
            weight: number.ok_or_else(|| WeightError::Range(namespace.to_owned()))?,
        })
    }
}

impl Shares {
    /// `most_percent`: what one namespace may use of a table at most, whatever is free.
    pub fn new(weights: impl IntoIterator<Item = NamespaceWeight>, most_percent: u32) -> Self {
        let weights = weights.into_iter().map(|one| (one.namespace, one.weight));
        Self {
            weights: weights.collect(),
            most_percent: most_percent.clamp(1, 100),
        }
    }

    /// Returns the weight of a namespace.
    pub(super) fn weight(&self, namespace: &str) -> u32 {
        self.weights.get(namespace).copied().unwrap_or(1)
    }

    /// Returns what one namespace may use of a limit at most.
    pub(super) const fn most(&self, limit: usize) -> usize {
        let most = limit * self.most_percent as usize / 100;
        if most == 0 { 1 } else { most }
    }
}

/// What a namespace needs of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) weight: u32,
    /// What is programmed.
    pub(super) held: usize,
    /// All that it asks for, with what is programmed.
    pub(super) wanted: usize,
}

/// What a namespace may use of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Allotment {
    /// Its part for sure.
    pub(super) sure: usize,
    /// What it may use now.
    pub(super) allowed: usize,
}

/// Returns the part of a namespace for sure: in proportion to its weight among all weights.
pub(super) fn sure(limit: usize, most: usize, (weight, weights): (u32, u64)) -> usize {
    let part = limit as u64 * u64::from(weight) / weights.max(1);
    (part as usize).min(most)
}

/// What a namespace should have, if there is room.
type Goal<'a> = &'a dyn Fn(&Demand, &Allotment) -> usize;

/// Shares out a limit: first to each what it wants of its own part, then what is programmed beyond that, then
/// the rest. `most` is what one namespace may have.
pub(super) fn allot(limit: usize, most: usize, demands: &[Demand]) -> Vec<Allotment> {
    let weights: u64 = demands.iter().map(|demand| u64::from(demand.weight)).sum();
    let part = |demand: &Demand| Allotment {
        sure: sure(limit, most, (demand.weight, weights)),
        allowed: 0,
    };
    let mut allotted: Vec<Allotment> = demands.iter().map(part).collect();
    let wanted = |demand: &Demand, _: &Allotment| demand.wanted.min(most);
    let goals: [Goal<'_>; 3] = [
        &|demand, one| wanted(demand, one).min(one.sure),
        &|demand, one| wanted(demand, one).min(demand.held),
        &wanted,
    ];
    for goal in goals {
        let used: usize = allotted.iter().map(|one| one.allowed).sum();
        fill(limit - used, demands, &mut allotted, goal);
    }
    allotted
}

/// Raises what is allowed towards a goal, in proportion to the weights, until nothing is free.
fn fill(mut free: usize, demands: &[Demand], allotted: &mut [Allotment], goal: Goal<'_>) {
    let lacking = |demand: &Demand, one: &Allotment| goal(demand, one).saturating_sub(one.allowed);
    loop {
        let open = demands
            .iter()
            .zip(&*allotted)
            .filter(|(demand, one)| lacking(demand, one) > 0);
        let weights: u64 = open.map(|(demand, _)| u64::from(demand.weight)).sum();
        if weights == 0 || free == 0 {
            return;
        }
        let whole = free as u64;
        for (demand, one) in demands.iter().zip(&mut *allotted) {
            let part = (whole * u64::from(demand.weight) / weights).max(1) as usize;
            let more = part.min(lacking(demand, one)).min(free);
            one.allowed += more;
            free -= more;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn demand(held: usize, wanted: usize) -> Demand {
        Demand {
            weight: 1,
            held,
            wanted,
        }
    }

    fn allowed(limit: usize, demands: &[Demand]) -> Vec<usize> {
        let allotted = allot(limit, limit, demands);
        allotted.iter().map(|one| one.allowed).collect()
    }

    #[test]
    fn a_namespace_that_is_alone_may_use_everything() {
        assert_eq!(allowed(100, &[demand(0, 100)]), [100]);
        assert_eq!(allowed(100, &[demand(0, 130)]), [100]);
    }

    #[test]
    fn what_others_leave_free_is_borrowed() {
        assert_eq!(allowed(100, &[demand(0, 10), demand(0, 90)]), [10, 90]);
        assert_eq!(
            allowed(90, &[demand(0, 10), demand(0, 90), demand(0, 90)]),
            [10, 40, 40]
        );
    }

    #[test]
    fn an_owner_that_comes_gets_its_part_back() {
        assert_eq!(allowed(100, &[demand(100, 100), demand(0, 30)]), [70, 30]);
        assert_eq!(allowed(100, &[demand(100, 100), demand(0, 80)]), [50, 50]);
    }

    #[test]
    fn what_is_programmed_is_not_displaced_by_what_another_wants_to_borrow() {
        assert_eq!(allowed(100, &[demand(70, 70), demand(0, 90)]), [50, 50]);
        assert_eq!(
            allowed(90, &[demand(40, 40), demand(20, 90), demand(0, 10)]),
            [40, 40, 10]
        );
    }

    #[test]
    fn weights_change_the_parts() {
        let heavy = Demand {
            weight: 3,
            ..demand(0, 100)
        };
        assert_eq!(allowed(100, &[heavy, demand(0, 100)]), [75, 25]);
    }

    #[test]
    fn growth_displaces_nothing_that_is_programmed() {
        assert_eq!(
            allowed(99, &[demand(10, 60), demand(65, 65), demand(1, 1)]),
            [33, 65, 1]
        );
    }

    #[test]
    fn a_cap_holds_although_the_rest_is_free() {
        let allotted = allot(100, 40, &[demand(0, 100), demand(0, 5)]);
        assert_eq!(
            allotted.iter().map(|one| one.allowed).collect::<Vec<_>>(),
            [40, 5]
        );
    }

    #[test]
    fn weights_are_read_or_refused_by_name() {
        let weight = "games=3".parse::<NamespaceWeight>().unwrap();
        assert_eq!((weight.namespace.as_str(), weight.weight), ("games", 3));
        for bad in ["games", "=3", "games=0", "games=1001", "games=many"] {
            let text = bad.parse::<NamespaceWeight>().unwrap_err().to_string();
            assert!(text.contains(bad.split('=').next().unwrap()), "{text}");
        }
    }

    fn demands() -> impl Strategy<Value = Vec<Demand>> {
        let one = (1..5_u32, 0..60_usize, 0..60_usize).prop_map(|(weight, held, more)| Demand {
            weight,
            held,
            wanted: held + more,
        });
        prop::collection::vec(one, 1..8)
    }

    proptest! {
        #[test]
        fn a_namespace_gets_its_part_and_no_more_than_it_wants(demands in demands(), limit in 8..200_usize) {
            let allotted = allot(limit, limit, &demands);
            prop_assert!(allotted.iter().map(|one| one.allowed).sum::<usize>() <= limit);
            for (demand, one) in demands.iter().zip(&allotted) {
                prop_assert!(one.allowed >= demand.wanted.min(one.sure));
                prop_assert!(one.allowed <= demand.wanted);
            }
        }

        #[test]
        fn nothing_stays_free_while_a_namespace_lacks_it(demands in demands(), limit in 8..200_usize) {
            let allotted = allot(limit, limit, &demands);
            let used: usize = allotted.iter().map(|one| one.allowed).sum();
            let lacks = demands.iter().zip(&allotted).any(|(demand, one)| one.allowed < demand.wanted);
            prop_assert!(!lacks || used == limit, "{used} of {limit}");
        }

        /// Whatever others hold and want.
        #[test]
        fn a_part_for_sure_depends_on_weights_only(
            demands in demands(),
            others in prop::collection::vec((0..60_usize, 0..60_usize), 8),
            limit in 8..200_usize,
        ) {
            let before = allot(limit, limit, &demands)[0];
            let changed = demands.iter().zip(&others).enumerate().map(|(index, (demand, (held, more)))| {
                if index == 0 { *demand } else { Demand { held: *held, wanted: held + more, ..*demand } }
            });
            let after = allot(limit, limit, &changed.collect::<Vec<_>>())[0];
            prop_assert_eq!(before.sure, after.sure);
            prop_assert!(after.allowed >= demands[0].wanted.min(before.sure));
        }

        /// Nothing programmed is displaced while those who come want no more than their parts leave.
        #[test]
        fn what_is_programmed_stays_if_it_fits_with_the_parts_of_others(
            demands in demands(), limit in 8..200_usize,
        ) {
            let allotted = allot(limit, limit, &demands);
            let sure: usize = demands.iter().zip(&allotted).map(|(demand, one)| {
                demand.wanted.min(one.sure).max(demand.held)
            }).sum();
            if sure <= limit {
                for (demand, one) in demands.iter().zip(&allotted) {
                    prop_assert!(one.allowed >= demand.held);
                }
            }
        }
    }
}
