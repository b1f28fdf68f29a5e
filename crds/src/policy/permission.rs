//! The administrator's permission to redirect.

use std::{collections::BTreeMap, str::FromStr};

use thiserror::Error;

use super::{Policy, Selector, fault::FieldFault, selector};
use crate::LabelSelector;

/// The namespaces in which rules may redirect: redirected packets bypass the node's filters, so this is the
/// administrator's decision, not the policy author's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedirectNamespaces(Selector);

impl RedirectNamespaces {
    /// Returns whether rules may redirect in all namespaces, whatever their labels.
    pub fn are_all(&self) -> bool {
        self.0 == Selector::default()
    }

    /// Returns whether rules may redirect in a namespace. `None`: its labels are unknown.
    pub fn include(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.are_all() || labels.is_some_and(|labels| self.0.matches(labels))
    }
}

/// Not a label selector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{text}` is not a label selector: {cause}; write it as \"{{matchLabels: {{redirect: allowed}}}}\", in YAML or \
     JSON"
)]
pub struct NotASelector {
    text: String,
    cause: String,
}

impl FromStr for RedirectNamespaces {
    type Err = NotASelector;

    fn from_str(text: &str) -> Result<Self, NotASelector> {
        let not_a_selector = |cause| NotASelector {
            text: text.to_owned(),
            cause,
        };
        let options = serde_saphyr::options! { with_snippet: false };
        let written: LabelSelector = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| not_a_selector(error.to_string()))?;
        let fault = |FieldFault { field, value, fault }| {
            not_a_selector(format!("`{field}` is `{value}`: {fault}; {}", fault.remedy()))
        };
        selector::convert("selector", &written).map(Self).map_err(fault)
    }
}

impl Policy {
    /// Returns whether the policy has a rule that redirects, and may not.
    pub fn lacks_permission(&self) -> bool {
        self.redirects() && !self.redirect_permitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("redirect".to_owned(), value.to_owned())])
    }

    fn parsed(text: &str) -> RedirectNamespaces {
        text.parse().unwrap()
    }

    #[test]
    fn the_empty_selector_includes_namespaces_with_unknown_labels() {
        for all in [RedirectNamespaces::default(), parsed("{}")] {
            assert!(all.are_all() && all.include(None) && all.include(Some(&labels("no"))));
        }
    }

    #[test]
    fn a_selector_includes_only_namespaces_whose_labels_are_known_and_match() {
        for text in [
            r#"{"matchLabels":{"redirect":"allowed"}}"#,
            "matchExpressions: [{key: redirect, operator: In, values: [allowed]}]",
        ] {
            let some = parsed(text);
            assert!(!some.are_all() && some.include(Some(&labels("allowed"))));
            assert!(!some.include(Some(&labels("no"))) && !some.include(Some(&BTreeMap::new())));
            assert!(!some.include(None), "{text}");
        }
        // Also a selector that would match a namespace without labels.
        let absent = parsed("matchExpressions: [{key: untrusted, operator: DoesNotExist}]");
        assert!(absent.include(Some(&BTreeMap::new())) && !absent.include(None));
    }

    #[test]
    fn what_is_no_selector_is_refused_with_the_cause() {
        for (text, cause) in [
            ("redirect=allowed", "matchLabels"),
            ("{matchLabel: {a: b}}", "unknown field `matchLabel`"),
            ("{matchLabels: {'-': b}}", "not a label key"),
            (
                "{matchExpressions: [{key: a, operator: In}]}",
                "In without values",
            ),
        ] {
            let error = text.parse::<RedirectNamespaces>().unwrap_err().to_string();
            assert!(error.contains(cause), "{error}");
        }
    }
}
