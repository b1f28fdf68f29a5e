//! A list of objects as a watch keeps it.

use std::collections::BTreeMap;

use kube::runtime::watcher::Event;

use super::{Item, Name};

/// Objects of one kind, ordered by namespace and name.
#[derive(Debug)]
pub struct Cache<T> {
    held: BTreeMap<Name, Held<T>>,
    /// The list that is being read, while the one before stays in use.
    relisted: Option<BTreeMap<Name, Held<T>>>,
    complete: bool,
}

#[derive(Debug)]
struct Held<T> {
    version: u64,
    value: T,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            relisted: None,
            complete: false,
        }
    }
}

impl<T: PartialEq> Cache<T> {
    /// Takes an event in; whether anything is different now.
    pub fn apply(&mut self, event: Event<Item<T>>) -> bool {
        match event {
            Event::Apply(item) => self.put(item),
            Event::Delete(item) => self.held.remove(&item.name).is_some(),
            Event::Init => {
                self.relisted = Some(BTreeMap::new());
                false
            }
            Event::InitApply(Item { name, version, value }) => {
                if let (Some(list), Some(value)) = (&mut self.relisted, value) {
                    list.insert(name, Held { version, value });
                }
                false
            }
            Event::InitDone => self.exchange(),
        }
    }

    /// Takes an object in, unless a later version of it is here already: the answer to a write may come before the
    /// events that led to it.
    pub fn put(&mut self, Item { name, version, value }: Item<T>) -> bool {
        let Some(value) = value else {
            return self.held.remove(&name).is_some();
        };
        match self.held.get_mut(&name) {
            Some(held) if held.version > version => false,
            Some(held) => {
                let differs = held.value != value;
                *held = Held { version, value };
                differs
            }
            None => {
                self.held.insert(name, Held { version, value });
                true
            }
        }
    }

    /// Forgets an object that has been deleted.
    pub fn remove(&mut self, name: &Name) {
        self.held.remove(name);
    }

    fn exchange(&mut self) -> bool {
        let list = self.relisted.take().unwrap_or_default();
        let same = self.complete
            && self.held.len() == list.len()
            && self
                .held
                .iter()
                .zip(&list)
                .all(|(old, new)| old.0 == new.0 && old.1.value == new.1.value);
        self.held = list;
        self.complete = true;
        !same
    }
}

impl<T> Cache<T> {
    /// Whether the list has been complete once.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// One of them.
    pub fn get(&self, name: &Name) -> Option<&T> {
        self.held.get(name).map(|held| &held.value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &T)> {
        self.held.iter().map(|(name, held)| (name, &held.value))
    }

    /// Those of a namespace from a name on, in order.
    pub fn within<'a, 'b>(
        &'a self,
        namespace: &'b str,
        from: &str,
    ) -> impl Iterator<Item = (&'a Name, &'a T)> + use<'a, 'b, T> {
        self.held
            .range(Name::new(namespace, from)..)
            .take_while(move |(name, _)| name.namespace == namespace)
            .map(|(name, held)| (name, &held.value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}
