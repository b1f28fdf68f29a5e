//! The objects of one kind, kept up to date by a watch.

use std::collections::BTreeMap;

use kube::runtime::watcher::Event;

use crate::object::{ObjectName, Versioned};

/// Objects of one kind, ordered by namespace and name. A new list replaces all objects at once when it is
/// complete; a list that breaks off changes nothing.
#[derive(Debug)]
pub struct Store<T> {
    objects: BTreeMap<ObjectName, Stored<T>>,
    /// Objects of the list in progress.
    listing: BTreeMap<ObjectName, Stored<T>>,
    complete: bool,
}

#[derive(Debug)]
struct Stored<T> {
    version: u64,
    value: T,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A change of an object: its name, the value before, and the value after. `None`: the object is absent.
pub type Observed<'a, T> = (&'a ObjectName, Option<&'a T>, Option<&'a T>);

impl<T: PartialEq> Store<T> {
    /// Applies an event. Returns whether a value has changed, or the first list is complete now.
    pub fn apply(&mut self, event: Event<Versioned<T>>) -> bool {
        let was_complete = self.complete;
        let mut changed = false;
        self.apply_observed(event, |_| changed = true);
        changed || self.complete != was_complete
    }

    /// Applies an event, and calls `observe` for each object whose value changes.
    pub fn apply_observed(&mut self, event: Event<Versioned<T>>, mut observe: impl FnMut(Observed<'_, T>)) {
        match event {
            Event::Apply(object) => self.put_observed(object, observe),
            Event::Delete(object) => {
                if let Some(stored) = self.objects.remove(&object.name) {
                    observe((&object.name, Some(&stored.value), None));
                }
            }
            Event::Init => self.listing.clear(),
            Event::InitApply(Versioned { name, version, value }) => {
                if let Some(value) = value {
                    self.listing.insert(name, Stored { version, value });
                }
            }
            Event::InitDone => self.replace(observe),
        }
    }

    /// Stores an object, unless a later version is stored already: the answer to a write may arrive before
    /// the events of earlier changes. Returns whether the value has changed.
    pub fn put(&mut self, object: Versioned<T>) -> bool {
        let mut changed = false;
        self.put_observed(object, |_| changed = true);
        changed
    }

    /// Stores an object as [`Self::put`] does, and calls `observe` if its value changes.
    pub fn put_observed(
        &mut self,
        Versioned { name, version, value }: Versioned<T>,
        mut observe: impl FnMut(Observed<'_, T>),
    ) {
        let Some(value) = value else {
            if let Some(stored) = self.objects.remove(&name) {
                observe((&name, Some(&stored.value), None));
            }
            return;
        };
        match self.objects.get_mut(&name) {
            Some(stored) if stored.version > version => {}
            Some(stored) => {
                let before = std::mem::replace(stored, Stored { version, value });
                if before.value != stored.value {
                    observe((&name, Some(&before.value), Some(&stored.value)));
                }
            }
            None => {
                observe((&name, None, Some(&value)));
                self.objects.insert(name, Stored { version, value });
            }
        }
    }

    fn replace(&mut self, mut observe: impl FnMut(Observed<'_, T>)) {
        let listed = std::mem::take(&mut self.listing);
        let before = std::mem::replace(&mut self.objects, listed);
        self.complete = true;
        for (name, old) in &before {
            let new = self.objects.get(name).map(|stored| &stored.value);
            if new != Some(&old.value) {
                observe((name, Some(&old.value), new));
            }
        }
        for (name, new) in &self.objects {
            if !before.contains_key(name) {
                observe((name, None, Some(&new.value)));
            }
        }
    }
}

impl<T> Store<T> {
    /// Creates a store without objects, before the first list.
    pub const fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            listing: BTreeMap::new(),
            complete: false,
        }
    }

    /// Returns whether a list has been complete. Before that, an absent object may exist.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Returns an object.
    pub fn get(&self, name: &ObjectName) -> Option<&T> {
        self.objects.get(name).map(|stored| &stored.value)
    }

    /// Returns all objects with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectName, &T)> {
        self.objects.iter().map(|(name, stored)| (name, &stored.value))
    }

    /// Returns all objects.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.objects.values().map(|stored| &stored.value)
    }

    /// Returns the objects of a namespace in order, starting with the name `from`.
    pub fn within<'a, 'b>(
        &'a self,
        namespace: &'b str,
        from: &str,
    ) -> impl Iterator<Item = (&'a ObjectName, &'a T)> + use<'a, 'b, T> {
        self.objects
            .range(ObjectName::new(namespace, from)..)
            .take_while(move |(name, _)| name.namespace == namespace)
            .map(|(name, stored)| (name, &stored.value))
    }

    /// Returns the number of objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Returns whether there are no objects.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(name: &str, version: u64, value: u32) -> Versioned<u32> {
        let (name, value) = (ObjectName::new("", name), Some(value));
        Versioned { name, version, value }
    }

    fn values(store: &Store<u32>) -> Vec<u32> {
        store.values().copied().collect()
    }

    #[test]
    fn a_list_that_breaks_off_changes_nothing() {
        let mut store = Store::default();
        assert!(!store.apply(Event::Init));
        assert!(!store.apply(Event::InitApply(object("a", 1, 1))));
        assert!(!store.is_complete(), "a part of a list is no list");
        assert!(store.apply(Event::InitDone));
        assert!(store.is_complete());

        store.apply(Event::Init);
        store.apply(Event::InitApply(object("b", 2, 2)));
        assert_eq!(values(&store), [1], "the second list is not complete yet");
        store.apply(Event::Init);
        assert!(store.apply(Event::InitDone));
        assert_eq!(
            values(&store),
            [] as [u32; 0],
            "the third list is complete, and empty"
        );
    }

    #[test]
    fn an_empty_first_list_is_a_change_and_an_equal_second_list_is_none() {
        let mut store = Store::<u32>::default();
        store.apply(Event::Init);
        assert!(store.apply(Event::InitDone));
        store.apply(Event::Init);
        assert!(!store.apply(Event::InitDone));
    }

    #[test]
    fn an_earlier_version_does_not_replace_a_later_one() {
        let mut store = Store::default();
        assert!(store.put(object("a", 7, 1)));
        assert!(!store.put(object("a", 6, 2)));
        assert_eq!(values(&store), [1]);
        assert!(store.apply(Event::Apply(object("a", 8, 3))));
        assert_eq!(values(&store), [3]);
    }

    #[test]
    fn an_object_without_a_usable_value_is_absent() {
        let mut store = Store::default();
        store.put(object("a", 1, 1));
        let unusable = Versioned {
            value: None,
            ..object("a", 2, 0)
        };
        assert!(store.apply(Event::Apply(unusable.clone())));
        assert!(store.is_empty());
        assert!(!store.apply(Event::Apply(unusable)));
    }

    #[test]
    fn earlier_objects_stay_until_the_new_list_is_complete_and_absent_ones_go_with_it() {
        let mut store = Store::default();
        store.put(object("x", 1, 1));
        store.put(object("y", 1, 2));
        store.apply(Event::Init);
        store.apply(Event::InitApply(object("y", 2, 3)));
        assert_eq!(values(&store), [1, 2]);
        assert!(store.apply(Event::InitDone));
        assert_eq!(values(&store), [3]);
    }

    #[test]
    fn a_later_version_with_an_equal_value_is_no_change() {
        let mut store = Store::default();
        store.put(object("x", 1, 1));
        assert!(!store.apply(Event::Apply(object("x", 9, 1))));
        assert!(store.apply(Event::Delete(object("x", 9, 1))));
    }

    #[test]
    fn within_a_namespace_only_its_objects_are_found() {
        let mut store = Store::default();
        for namespace in ["a", "a-b", "b"] {
            let name = ObjectName::new(namespace, "x");
            store.put(Versioned {
                name,
                ..object("", 1, 1)
            });
        }
        assert_eq!(store.within("a", "").count(), 1);
        assert_eq!(store.within("a", "y").count(), 0);
    }

    #[test]
    fn a_new_list_observes_what_differs_with_both_values() {
        let mut store = Store::default();
        for (name, value) in [("gone", 1), ("kept", 2), ("changed", 3)] {
            store.put(object(name, 1, value));
        }
        store.apply(Event::Init);
        for (name, value) in [("kept", 2), ("changed", 4), ("new", 5)] {
            store.apply(Event::InitApply(object(name, 2, value)));
        }
        let mut seen = Vec::new();
        store.apply_observed(Event::InitDone, |(name, old, new)| {
            seen.push((name.name.clone(), old.copied(), new.copied()));
        });
        let expected = [
            ("changed", Some(3), Some(4)),
            ("gone", Some(1), None),
            ("new", None, Some(5)),
        ];
        assert_eq!(seen, expected.map(|(name, old, new)| (name.to_owned(), old, new)));
    }

    proptest! {
        #[test]
        fn a_change_is_reported_exactly_when_a_value_differs(
            steps in prop::collection::vec((0..3_u8, 0..3_u32), 0..20),
        ) {
            let mut store = Store::default();
            for (name, value) in steps {
                let before = values(&store);
                let object = object(&name.to_string(), 1, value);
                let event = if value == 0 { Event::Delete(object) } else { Event::Apply(object) };
                let changed = store.apply(event);
                prop_assert_eq!(changed, before != values(&store));
            }
        }
    }
}
