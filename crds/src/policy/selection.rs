//! What a source that selects pods means, whichever policy it is in.

use std::{collections::BTreeMap, fmt};

use super::{PodSource, Selector};
use crate::hash::sha256;

type Labels = BTreeMap<String, String>;

/// The pods that a source means. Two sources with equal selections mean the same pods, also if they are
/// written differently, or are in different policies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodSelection {
    /// The namespaces of the pods.
    pub namespaces: SelectedNamespaces,
    /// The pods in these namespaces.
    pub pods: Selector,
}

/// The namespaces of a selection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SelectedNamespaces {
    /// The namespace with this name: that of the policy.
    Named(String),
    /// Namespaces with these labels.
    Labelled(Selector),
}

/// Identifies a selection, and the `XdpPeerSet`s with its addresses: the first [`SetId::LENGTH`] digits of
/// the SHA-256 of its text. (A label's value, which agents select sets by, has no room for all 64.)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(String);

impl PodSource {
    /// Returns what the source means in a policy of the given namespace.
    pub fn selection(&self, policy_namespace: &str) -> PodSelection {
        let namespaces = match &self.namespaces {
            Some(selector) => SelectedNamespaces::Labelled(selector.clone()),
            None => SelectedNamespaces::Named(policy_namespace.to_owned()),
        };
        PodSelection {
            namespaces,
            pods: self.pods.clone(),
        }
    }
}

impl PodSelection {
    /// Returns whether the selection has a pod with these labels. `None`: the labels of its namespace are
    /// unknown, and decide.
    pub fn includes(&self, namespace: &str, of_namespace: Option<&Labels>, labels: &Labels) -> Option<bool> {
        if !self.pods.matches(labels) {
            return Some(false);
        }
        match &self.namespaces {
            SelectedNamespaces::Named(name) => Some(name == namespace),
            SelectedNamespaces::Labelled(selector) if *selector == Selector::default() => Some(true),
            SelectedNamespaces::Labelled(selector) => Some(selector.matches(of_namespace?)),
        }
    }

    /// Returns the identity of the selection.
    pub fn id(&self) -> SetId {
        SetId::of_text(&self.to_string())
    }
}

/// Writes `pods {app in (game)} of namespaces {team in (a,b)}`. Different selections have different texts: no
/// label has a space, a comma, or a bracket.
impl fmt::Display for PodSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pods {{{}}} of ", self.pods)?;
        match &self.namespaces {
            SelectedNamespaces::Labelled(selector) => write!(f, "namespaces {{{selector}}}"),
            SelectedNamespaces::Named(name) => write!(f, "namespace {name}"),
        }
    }
}

impl SetId {
    /// Returns the identity of what a text says.
    pub(crate) fn of_text(text: &str) -> Self {
        let mut digits = sha256(text);
        digits.truncate(Self::LENGTH);
        Self(digits)
    }

    /// The number of hexadecimal digits.
    pub const LENGTH: usize = 56;

    /// Returns the identity that a text says: the value of a label, or the beginning of a name.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == Self::LENGTH && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// Returns the identity as text: a valid label value and beginning of a name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IngressRule, LabelSelector, XdpPolicy, policy::Policy};

    fn selection(namespace: &str, from: &str) -> PodSelection {
        let rule: IngressRule =
            serde_saphyr::from_str(&format!("{{name: r, action: Pass, from: [{from}]}}")).unwrap();
        let mut object: XdpPolicy = serde_saphyr::from_str(
            "{apiVersion: xdp-operator.io/v1alpha1, kind: XdpPolicy, metadata: {name: p}, spec: {podSelector: {}}}",
        )
        .unwrap();
        object.metadata.namespace = Some(namespace.to_owned());
        object.spec.ingress = vec![rule];
        object.spec.pod_selector = LabelSelector::default();
        let policy = Policy::try_from(&object).unwrap();
        policy.rules[0].pod_sources().next().unwrap().selection(namespace)
    }

    #[test]
    fn sources_that_mean_the_same_pods_have_the_same_identity_however_they_are_written() {
        let written = [
            "{podSelector: {matchLabels: {app: a, tier: x}}}",
            "{podSelector: {matchLabels: {tier: x}, matchExpressions: [{key: app, operator: In, values: [a]}]}}",
            "{podSelector: {matchExpressions: [{key: tier, operator: In, values: [x, x]}, {key: app, operator: In, \
             values: [a]}, {key: app, operator: In, values: [a]}]}}",
        ];
        let ids: Vec<SetId> = written.iter().map(|from| selection("n", from).id()).collect();
        assert_eq!(ids[0], ids[1]);
        assert_eq!(ids[0], ids[2]);
        let all = selection("n", "{namespaceSelector: {}}");
        assert_eq!(
            all.id(),
            selection("m", "{namespaceSelector: {}, podSelector: {}}").id()
        );
    }

    #[test]
    fn sources_that_mean_other_pods_have_another_identity() {
        let written = [
            ("n", "{podSelector: {}}"),
            ("m", "{podSelector: {}}"),
            ("n", "{namespaceSelector: {}}"),
            (
                "n",
                "{podSelector: {matchExpressions: [{key: a, operator: Exists}]}}",
            ),
            (
                "n",
                "{podSelector: {matchExpressions: [{key: a, operator: DoesNotExist}]}}",
            ),
            (
                "n",
                "{podSelector: {matchExpressions: [{key: a, operator: In, values: [b]}]}}",
            ),
            (
                "n",
                "{podSelector: {matchExpressions: [{key: a, operator: NotIn, values: [b]}]}}",
            ),
            (
                "n",
                "{podSelector: {matchExpressions: [{key: a, operator: In, values: [b, c]}]}}",
            ),
            (
                "n",
                "{namespaceSelector: {matchExpressions: [{key: a, operator: Exists}]}}",
            ),
        ];
        let ids: std::collections::BTreeSet<SetId> = written
            .iter()
            .map(|(namespace, from)| selection(namespace, from).id())
            .collect();
        assert_eq!(ids.len(), written.len());
    }

    #[test]
    fn the_text_is_that_of_the_documentation_and_its_hash_is_a_label_value() {
        let selection = selection(
            "games",
            "{namespaceSelector: {matchLabels: {team: red}}, podSelector: {matchExpressions: [{key: b, operator: \
             NotIn, values: [y, x]}, {key: a, operator: DoesNotExist}, {key: c, operator: Exists}]}}",
        );
        assert_eq!(
            selection.to_string(),
            "pods {!a, b notin (x,y), c} of namespaces {team in (red)}"
        );
        let id = selection.id();
        assert_eq!(id.as_str().len(), SetId::LENGTH);
        assert!(super::super::selector::is_word(id.as_str()));
        assert_eq!(SetId::parse(id.as_str()), Some(id.clone()));
        assert_eq!(SetId::parse(&id.as_str()[1..]), None);
        assert_eq!(SetId::parse(&id.as_str().replace(|_| true, "g")), None);
    }
}
