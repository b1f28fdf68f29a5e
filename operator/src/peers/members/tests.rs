use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number))
}

fn slices(members: &Members) -> Vec<Vec<IpAddr>> {
    (0..members.slice_count())
        .map(|number| members.slice(number))
        .collect()
}

fn stored(slices: &[Vec<IpAddr>]) -> impl Iterator<Item = (u32, &[IpAddr])> {
    (0..).zip(slices.iter().map(Vec::as_slice))
}

fn all(numbers: impl IntoIterator<Item = u32>, held: &[Vec<IpAddr>], largest: usize) -> Members {
    Members::with_largest(numbers.into_iter().map(address), stored(held), largest)
}

/// Marks everything as stored, as after all writes.
fn write_all(members: &mut Members) -> Vec<u32> {
    let mut written = Vec::new();
    while let Some(number) = members.next_dirty() {
        members.is_stored(number);
        written.push(number);
    }
    written
}

#[test]
fn without_addresses_there_is_one_empty_slice() {
    assert_eq!(slices(&all([], &[], 1000)), [Vec::<IpAddr>::new()]);
}

#[test]
fn a_stored_slice_with_an_absurd_number_is_ignored() {
    let held = [address(1)];
    let members = Members::new([address(1)], [(u32::MAX, held.as_slice())]);
    assert_eq!(slices(&members), [vec![address(1)]]);
}

#[test]
fn a_change_of_one_address_changes_one_slice() {
    let mut members = all(0..5000, &[], 1000);
    write_all(&mut members);
    members.remove(&address(2345));
    assert_eq!(write_all(&mut members), [2]);
    members.insert(address(9999));
    assert_eq!(write_all(&mut members), [2], "the first with room");
    members.insert(address(9998));
    assert_eq!(
        write_all(&mut members),
        [5, 0],
        "a new slice, then the number of slices"
    );
}

#[test]
fn an_address_that_is_removed_and_added_between_two_writes_changes_one_slice() {
    let mut members = all(0..5000, &[], 1000);
    write_all(&mut members);
    members.remove(&address(4001));
    members.insert(address(9999));
    assert_eq!(write_all(&mut members), [4]);
}

#[test]
fn a_pod_with_a_new_address_changes_one_slice_also_if_all_are_full() {
    let mut members = all(0..5000, &[], 1000);
    write_all(&mut members);
    members.replace(&[address(4001), address(7)], &[address(9999), address(7)]);
    assert_eq!(write_all(&mut members), [4]);
    // At the number of addresses at which one slice less would do.
    let mut members = all(0..1001, &[], 1000);
    write_all(&mut members);
    members.replace(&[address(3)], &[address(9999)]);
    assert_eq!((write_all(&mut members), members.slice_count()), (vec![0], 2));
}

#[test]
fn an_address_of_two_pods_stays_until_both_are_gone() {
    let mut members = all([1, 1, 2], &[], 1000);
    write_all(&mut members);
    members.remove(&address(1));
    assert_eq!((write_all(&mut members), members.address_count()), (vec![], 2));
    members.remove(&address(1));
    assert_eq!((write_all(&mut members), members.address_count()), (vec![0], 1));
}

#[test]
fn if_half_of_the_slices_suffice_the_last_are_emptied_and_the_first_only_grow() {
    let mut members = all(0..4000, &[], 1000);
    write_all(&mut members);
    for number in (0..4000).filter(|number| number % 2 == 1) {
        members.remove(&address(number));
    }
    assert_eq!(members.slice_count(), 2);
    assert_eq!(write_all(&mut members), [1, 0]);
    assert_eq!(slices(&members).concat().len(), 2000);
}

proptest! {
    #[test]
    fn every_address_is_in_exactly_one_slice_whatever_was_stored_and_happened(
        start in prop::collection::vec(0..60_u32, 0..60),
        held in prop::collection::vec(prop::collection::vec(0..60_u32, 0..10), 0..12),
        steps in prop::collection::vec(
            (any::<bool>(), 0..60_u32, any::<bool>(), prop::option::of(0..60_u32)),
            0..100,
        ),
    ) {
        let held: Vec<Vec<IpAddr>> = held.into_iter()
            .map(|slice| slice.into_iter().map(address).collect())
            .collect();
        let mut members = all(start.iter().copied(), &held, 4);
        let mut pods = BTreeMap::<u32, u32>::new();
        for number in start {
            *pods.entry(number).or_default() += 1;
        }
        let mut written = vec![Vec::new(); 64];
        for (adds, number, writes, next) in steps {
            let count = pods.entry(number).or_default();
            if adds {
                *count += 1;
                members.insert(address(number));
            } else if *count > 0 {
                *count -= 1;
                if let Some(next) = next {
                    *pods.entry(next).or_default() += 1;
                    members.replace(&[address(number)], &[address(next)]);
                } else {
                    members.remove(&address(number));
                }
            }
            if writes {
                while let Some(number) = members.next_dirty() {
                    written[number as usize] = members.slice(number);
                    members.is_stored(number);
                }
                prop_assert_eq!(slices(&members), &written[..members.slice_count() as usize],
                    "what is not dirty is as it was written");
            }
            let wanted: Vec<IpAddr> = pods.iter()
                .filter(|(_, count)| **count > 0)
                .map(|(number, _)| address(*number))
                .collect();
            let slices = slices(&members);
            prop_assert!(slices.iter().all(|slice| slice.len() <= 4));
            let needed = wanted.len().div_ceil(4).max(1);
            let is_tight = slices.len() < 2 * needed && !slices[slices.len() - 1].is_empty();
            prop_assert!(slices.len() == 1 || is_tight, "{:?}", slices);
            let mut found = slices.concat();
            found.sort();
            prop_assert_eq!(found, wanted);
        }
    }
}
