use proptest::prelude::*;

use super::{
    start::{ADDED, REFUSED},
    *,
};

const SECOND: Duration = Duration::from_secs(1);
const SHAPE: Shape = Shape {
    keys: 3,
    watches: 2,
    interval: SECOND,
};

fn keys(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn object(name: &str, value: u32) -> Versioned<u32> {
    Versioned {
        name: ObjectName::new("", name),
        version: 1,
        value: Some(value),
    }
}

fn complete(store: &mut KeyedStore<u32>, id: u64, objects: &[Versioned<u32>], now: Instant) -> bool {
    store.apply(id, Event::Init, now);
    for object in objects {
        store.apply(id, Event::InitApply(object.clone()), now);
    }
    store.apply(id, Event::InitDone, now)
}

#[test]
fn a_key_stays_watched_for_a_while_after_it_was_wanted() {
    let start = Instant::now();
    let mut store = KeyedStore::<u32>::new(SHAPE);
    assert!(store.want(&keys(&["a"]), start));
    let (id, started) = store.steps(start).start.remove(0);
    assert_eq!(started, keys(&["a"]));
    complete(&mut store, id, &[object("x", 1)], start);

    assert!(store.want(&keys(&[]), start));
    assert!(
        !store.want(&keys(&[]), start + SECOND),
        "since when it is not wanted stays"
    );
    let steps = store.steps(start + LINGER / 2);
    assert_eq!((steps.stop, steps.again), (vec![], Some(start + LINGER)));
    store.want(&keys(&["a"]), start + LINGER / 2);
    assert!(store.steps(start + LINGER).stop.is_empty(), "it is wanted again");

    store.want(&keys(&[]), start + LINGER);
    let steps = store.steps(start + LINGER + LINGER);
    assert_eq!((steps.stop, steps.changed), (vec![id], true));
    assert_eq!(store.objects().len(), 0);
}

#[test]
fn objects_stay_known_while_other_keys_replace_a_watch() {
    let start = Instant::now();
    let mut store = KeyedStore::<u32>::new(SHAPE);
    store.want(&keys(&["a"]), start);
    store.steps(start);
    complete(&mut store, 0, &[object("x", 1)], start);
    store.want(&keys(&["a", "b", "c"]), start);
    assert_eq!(
        store.steps(start).again,
        Some(start + SECOND),
        "starts are a second apart"
    );
    let now = start + SECOND;
    assert_eq!(store.steps(now).start, [(1, keys(&["b", "c"]))], "a second watch");
    complete(&mut store, 1, &[], now);

    store.want(&keys(&["a", "b", "c", "d"]), now + SECOND);
    let steps = store.steps(now + SECOND);
    assert_eq!(
        steps.start,
        [(2, keys(&["a", "d"]))],
        "the smallest one is replaced"
    );
    assert!(store.is_known("a") && !store.is_known("d"));
    assert_eq!(store.objects().len(), 1);
    complete(&mut store, 2, &[object("x", 2)], now + SECOND);
    assert_eq!(store.steps(now + SECOND).stop, [0]);
    assert_eq!(store.objects().into_values().collect::<Vec<_>>(), [&2]);
}

#[test]
fn a_watch_is_replaced_when_one_of_its_keys_has_expired() {
    let start = Instant::now();
    let mut store = KeyedStore::<u32>::new(SHAPE);
    store.want(&keys(&["a", "b"]), start);
    store.steps(start);
    complete(&mut store, 0, &[], start);
    store.want(&keys(&["a"]), start);
    let steps = store.steps(start + LINGER);
    assert_eq!((steps.start, steps.stop), (vec![(1, keys(&["a"]))], vec![]));
    let again = store.steps(start + 2 * LINGER).start;
    assert!(again.is_empty(), "its successor has started");
    complete(&mut store, 1, &[], start + LINGER);
    assert_eq!(store.steps(start + LINGER).stop, [0]);
}

#[test]
fn the_start_waits_for_the_first_keys_and_a_while_for_those_that_were_added() {
    let start = Instant::now();
    let mut store = KeyedStore::<u32>::new(SHAPE);
    store.want(&keys(&["a"]), start);
    store.steps(start);
    store.want(&keys(&["a", "b"]), start);
    assert!(!store.is_ready());
    complete(&mut store, 0, &[], start);
    assert!(!store.is_ready(), "`b` is not known");
    assert_eq!(store.steps(start).again, Some(start + SECOND));
    store.steps(start + SECOND);
    assert!(
        store.steps(start + ADDED).changed,
        "`b` is not waited for any longer"
    );
    assert!(store.is_ready());

    let mut nothing = KeyedStore::<u32>::new(SHAPE);
    assert!(!nothing.is_ready(), "the keys are unknown");
    nothing.want(&keys(&[]), start);
    assert!(nothing.is_ready());
}

#[test]
fn a_refused_list_delays_the_start_only_while_all_lists_are_refused_or_for_a_minute() {
    let start = Instant::now();
    let one_each = Shape {
        keys: 1,
        watches: usize::MAX,
        interval: Duration::ZERO,
    };
    let mut store = KeyedStore::<u32>::new(one_each);
    store.want(&keys(&["a", "b"]), start);
    store.steps(start);
    for id in [0, 1] {
        store.refused(id, start);
        store.refused(id, start + REFUSED);
    }
    assert!(!store.is_ready());
    complete(&mut store, 0, &[], start + REFUSED / 2);
    assert!(!store.is_ready(), "the other list may be permitted in a moment");
    assert!(store.refused(1, start + REFUSED));
    assert!(store.is_ready());
}

proptest! {
    /// Whatever is wanted when: after a while each wanted key has one watch, a key that is known stays
    /// known, and there are not more watches than needed.
    #[test]
    fn wanted_keys_are_watched_and_stay_known(
        steps in prop::collection::vec((prop::collection::btree_set("[a-h]", 0..7), any::<bool>()), 1..20),
    ) {
        let mut now = Instant::now();
        let mut store = KeyedStore::<u32>::new(SHAPE);
        let mut known = BTreeSet::new();
        for (wanted, answers) in steps {
            store.want(&wanted, now);
            for _ in 0..4 {
                now += SECOND;
                let steps = store.steps(now);
                for (id, keys) in steps.start {
                    prop_assert!(keys.len() <= SHAPE.keys);
                    if answers {
                        complete(&mut store, id, &[], now);
                    }
                }
            }
            let is_watched = |key: &String| store.watches.values().any(|watch| watch.keys.contains(key));
            prop_assert!(wanted.iter().all(is_watched));
            known.retain(|key| wanted.contains(key));
            prop_assert!(known.iter().all(|key: &String| store.is_known(key)));
            known.extend(wanted.iter().filter(|key| store.is_known(key)).cloned());
        }
        let ids: Vec<u64> = store.watches.keys().copied().collect();
        for id in ids {
            complete(&mut store, id, &[], now);
        }
        store.steps(now);
        let watched: usize = store.watches.values().map(|watch| watch.keys.len()).sum();
        prop_assert!(store.watches.len() <= SHAPE.watches + watched.div_ceil(SHAPE.keys));
    }
}
