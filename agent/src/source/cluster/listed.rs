//! The objects of one watch.

use std::collections::BTreeMap;

use kube::runtime::watcher::Event;

/// Namespace (empty for objects of the cluster) and name.
pub(super) type Key = (String, String);

/// Objects by name. A list that fails half-way changes nothing: it replaces everything at once when it is whole.
#[derive(Debug)]
pub(super) struct Listed<V> {
    items: BTreeMap<Key, V>,
    /// What a list that is under way has given so far.
    coming: BTreeMap<Key, V>,
    known: bool,
}

impl<V> Default for Listed<V> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            coming: BTreeMap::new(),
            known: false,
        }
    }
}

impl<V: PartialEq> Listed<V> {
    /// Whether there was a whole list.
    pub(super) const fn known(&self) -> bool {
        self.known
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Key, &V)> {
        self.items.iter()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.items.values()
    }

    /// Takes an event over. Returns whether anything that counts is different now.
    pub(super) fn apply(&mut self, event: Event<(Key, V)>) -> bool {
        match event {
            Event::Apply((key, value)) => {
                let before = self.items.get(&key);
                let changed = before != Some(&value);
                if changed {
                    self.items.insert(key, value);
                }
                changed
            }
            Event::Delete((key, _)) => self.items.remove(&key).is_some(),
            Event::Init => {
                self.coming.clear();
                false
            }
            Event::InitApply((key, value)) => {
                self.coming.insert(key, value);
                false
            }
            Event::InitDone => {
                let coming = std::mem::take(&mut self.coming);
                let changed = !self.known || self.items != coming;
                self.items = coming;
                self.known = true;
                changed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(name: &str, value: u32) -> (Key, u32) {
        ((String::new(), name.to_owned()), value)
    }

    fn values(listed: &Listed<u32>) -> Vec<u32> {
        listed.values().copied().collect()
    }

    #[test]
    fn a_list_that_breaks_off_leaves_everything_as_it_was() {
        let mut listed = Listed::default();
        assert!(!listed.apply(Event::Init));
        assert!(!listed.apply(Event::InitApply(item("a", 1))));
        assert!(!listed.known(), "a part of a list is no list");
        assert!(listed.apply(Event::InitDone));
        assert!(listed.known());

        listed.apply(Event::Init);
        listed.apply(Event::InitApply(item("b", 2)));
        assert_eq!(values(&listed), [1], "the second list is not whole yet");
        listed.apply(Event::Init);
        assert!(listed.apply(Event::InitDone));
        assert_eq!(
            values(&listed),
            [] as [u32; 0],
            "the third list is whole, and empty"
        );
    }

    #[test]
    fn an_empty_first_list_is_news_and_the_same_list_again_is_none() {
        let mut listed = Listed::<u32>::default();
        listed.apply(Event::Init);
        assert!(listed.apply(Event::InitDone));
        listed.apply(Event::Init);
        assert!(!listed.apply(Event::InitDone));
    }

    proptest! {
        #[test]
        fn a_change_is_reported_exactly_when_something_is_different(steps in prop::collection::vec((0..3_u8, 0..3_u32), 0..20)) {
            let mut listed = Listed::default();
            for (name, value) in steps {
                let before = values(&listed);
                let entry = item(&name.to_string(), value);
                let event = if value == 0 { Event::Delete(entry) } else { Event::Apply(entry) };
                let changed = listed.apply(event);
                prop_assert_eq!(changed, before != values(&listed));
            }
        }
    }
}
