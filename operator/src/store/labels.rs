//! Labels in few bytes. Ten thousands of pods have the same labels: each label is stored once, and a selector
//! compares addresses of labels, not texts.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use xdp_crds::policy::{LabelTest, PodSelection, SelectedNamespaces, Selector};

/// The smallest number of labels at which unused ones are looked for.
const SWEEP_FROM: usize = 1024;

/// A label, as `app=game`. A key has no `=`.
type Label = Arc<str>;

/// All labels of the cluster, each once. Those that nothing uses any more are dropped.
#[derive(Debug, Default)]
pub struct LabelPool {
    known: HashSet<Label>,
    /// The number of labels at which unused ones are dropped.
    sweep_at: usize,
}

/// The labels of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSet(Box<[Label]>);

/// A selector that works on [`LabelSet`]s of the same pool.
#[derive(Clone, Debug, Default)]
pub struct CompiledSelector(Box<[Test]>);

#[derive(Clone, Debug)]
enum Test {
    /// One of these labels.
    Any(Box<[Label]>),
    /// None of these labels.
    None(Box<[Label]>),
    /// A label that begins with this key and `=`.
    Exists(Box<str>),
    /// No label that does.
    Absent(Box<str>),
}

/// A selection that works on [`LabelSet`]s of the same pool.
#[derive(Clone, Debug)]
pub struct CompiledSelection {
    namespaces: CompiledNamespaces,
    pods: CompiledSelector,
}

#[derive(Clone, Debug)]
enum CompiledNamespaces {
    Named(String),
    Labelled(CompiledSelector),
}

impl LabelPool {
    /// Returns labels as a set.
    pub fn labels(&mut self, labels: &BTreeMap<String, String>) -> LabelSet {
        self.sweep();
        LabelSet(labels.iter().map(|(key, value)| self.label(key, value)).collect())
    }

    /// Compiles a selector.
    pub fn selector(&mut self, selector: &Selector) -> CompiledSelector {
        let tests = selector.conditions().map(|condition| {
            let key = &condition.key;
            let labels = |pool: &mut Self, values: &std::collections::BTreeSet<String>| {
                values.iter().map(|value| pool.label(key, value)).collect()
            };
            match &condition.test {
                LabelTest::In(values) => Test::Any(labels(self, values)),
                LabelTest::NotIn(values) => Test::None(labels(self, values)),
                LabelTest::Exists => Test::Exists(format!("{key}=").into()),
                LabelTest::Absent => Test::Absent(format!("{key}=").into()),
            }
        });
        CompiledSelector(tests.collect())
    }

    /// Compiles a selection.
    pub fn selection(&mut self, selection: &PodSelection) -> CompiledSelection {
        CompiledSelection {
            namespaces: match &selection.namespaces {
                SelectedNamespaces::Named(name) => CompiledNamespaces::Named(name.clone()),
                SelectedNamespaces::Labelled(selector) => {
                    CompiledNamespaces::Labelled(self.selector(selector))
                }
            },
            pods: self.selector(&selection.pods),
        }
    }

    fn label(&mut self, key: &str, value: &str) -> Label {
        let text = format!("{key}={value}");
        if let Some(known) = self.known.get(text.as_str()) {
            return Arc::clone(known);
        }
        let label: Label = text.into();
        self.known.insert(Arc::clone(&label));
        label
    }

    /// Drops unused labels when there are twice as many labels as were used the last time.
    fn sweep(&mut self) {
        if self.known.len() >= self.sweep_at.max(SWEEP_FROM) {
            self.known.retain(|label| Arc::strong_count(label) > 1);
            self.sweep_at = 2 * self.known.len();
        }
    }
}

impl CompiledSelector {
    /// Returns whether the selector selects an object with these labels.
    pub fn matches(&self, labels: &LabelSet) -> bool {
        let has = |wanted: &[Label]| {
            let mut labels = labels.0.iter();
            labels.any(|label| wanted.iter().any(|wanted| Arc::ptr_eq(label, wanted)))
        };
        let exists = |key: &str| labels.0.iter().any(|label| label.starts_with(key));
        self.0.iter().all(|test| match test {
            Test::Any(wanted) => has(wanted),
            Test::None(unwanted) => !has(unwanted),
            Test::Exists(key) => exists(key),
            Test::Absent(key) => !exists(key),
        })
    }
}

impl CompiledSelection {
    /// Returns whether the selection includes pods of a namespace with this name and these labels. `None`:
    /// the labels are not known yet. No selector selects such a namespace, also none that wants a label
    /// absent.
    pub fn includes_namespace(&self, name: &str, labels: Option<&LabelSet>) -> bool {
        match &self.namespaces {
            CompiledNamespaces::Named(named) => named == name,
            CompiledNamespaces::Labelled(selector) => labels.is_some_and(|labels| selector.matches(labels)),
        }
    }

    /// Returns whether the selection includes pods with these labels, in the namespaces that it includes.
    pub fn includes_pod(&self, labels: &LabelSet) -> bool {
        self.pods.matches(labels)
    }

    /// Returns the only namespace of the selection, if it names one.
    pub fn named_namespace(&self) -> Option<&str> {
        match &self.namespaces {
            CompiledNamespaces::Named(name) => Some(name),
            CompiledNamespaces::Labelled(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};
    use serde_json::json;
    use xdp_crds::{XdpPolicy, policy::Policy};

    use super::*;

    fn selector(written: &serde_json::Value) -> Selector {
        let policy: XdpPolicy = serde_json::from_value(json!({"apiVersion": "xdp-operator.io/v1alpha1",
            "kind": "XdpPolicy", "metadata": {"name": "p"}, "spec": {"podSelector": written}}))
        .unwrap();
        Policy::try_from(&policy).unwrap().selector
    }

    fn conditions() -> impl Strategy<Value = serde_json::Value> {
        let operator = prop::sample::select(vec!["In", "NotIn", "Exists", "DoesNotExist"]);
        let values = prop::collection::btree_set("[xyz]", 1..3);
        let condition = ("[abc]|ab", operator, values).prop_map(|(key, operator, values)| match operator {
            "In" | "NotIn" => json!({"key": key, "operator": operator, "values": values}),
            _ => json!({"key": key, "operator": operator}),
        });
        prop::collection::vec(condition, 0..4).prop_map(|list| json!({"matchExpressions": list}))
    }

    proptest! {
        #[test]
        fn a_compiled_selector_selects_what_the_selector_selects(
            written in conditions(),
            objects in prop::collection::vec(btree_map("[abc]|ab", "[xyz]|", 0..4), 1..20),
        ) {
            let mut pool = LabelPool::default();
            let selector = selector(&written);
            let before = pool.labels(&objects[0]);
            let compiled = pool.selector(&selector);
            prop_assert_eq!(compiled.matches(&before), selector.matches(&objects[0]));
            for labels in &objects {
                let set = pool.labels(labels);
                prop_assert_eq!(compiled.matches(&set), selector.matches(labels));
            }
        }
    }

    #[test]
    fn labels_that_nothing_uses_any_more_are_dropped() {
        let mut pool = LabelPool::default();
        let kept = pool.labels(&BTreeMap::from([("app".into(), "game".into())]));
        for number in 0..10 * SWEEP_FROM {
            pool.labels(&BTreeMap::from([("random".into(), number.to_string())]));
        }
        assert!(pool.known.len() <= SWEEP_FROM, "{}", pool.known.len());
        assert!(
            pool.selector(&selector(&json!({"matchLabels": {"app": "game"}})))
                .matches(&kept)
        );
    }
}
