//! Applies the administrator's permission to redirect to policies.
//!
//! Where it is missing, packets of Redirect rules pass to the stack, counted as fallbacks; all other rules
//! act.

use std::{collections::BTreeMap, sync::Arc};

use xdp_crds::conditions::node;

use crate::{
    node_state::selects,
    pod::Pod,
    policy::{Policy, RedirectNamespaces},
    report::Problem,
    resolve::NodePolicy,
};

/// Labels of namespaces, by name.
pub type NamespaceLabels = BTreeMap<String, BTreeMap<String, String>>;

/// The label that the API server gives to every namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Sets the permission of policies by the labels of their namespaces.
pub fn apply(
    policies: &mut [Arc<Policy>],
    node_policies: &mut [NodePolicy],
    permitted: &RedirectNamespaces,
    namespaces: &NamespaceLabels,
) {
    let of_node = node_policies
        .iter_mut()
        .filter_map(|node_policy| node_policy.policy.as_mut());
    for policy in policies.iter_mut().chain(of_node) {
        let is_permitted = permitted.include(namespaces.get(&policy.namespace));
        if policy.redirect_permitted != is_permitted {
            Arc::make_mut(policy).redirect_permitted = is_permitted;
        }
    }
}

/// Returns the labels of the namespaces of policies without a cluster: those of the given objects, and the
/// label with the name, which every namespace has.
pub fn without_cluster(given: &NamespaceLabels, policies: &[Arc<Policy>]) -> NamespaceLabels {
    let names = policies.iter().map(|policy| &policy.namespace);
    let labels = |name: &String| {
        let mut labels = given.get(name).cloned().unwrap_or_default();
        labels.insert(NAME_LABEL.to_owned(), name.clone());
        (name.clone(), labels)
    };
    names.map(labels).collect()
}

/// Returns a problem for each policy that redirects to a pod of the node, and may not.
pub fn problems(node_policies: &[NodePolicy], pods: &[Arc<Pod>]) -> Vec<Problem> {
    let policies = node_policies
        .iter()
        .filter_map(|node_policy| node_policy.policy.as_deref());
    let lacking = policies.filter(|policy| policy.lacks_permission());
    lacking
        .filter(|policy| pods.iter().any(|pod| selects(policy, pod)))
        .map(problem)
        .collect()
}

fn problem(policy: &Policy) -> Problem {
    Problem::new(
        policy.to_string(),
        node::NOT_PERMITTED,
        not_permitted(&policy.namespace),
        "ask the administrator to label the namespace, or use `action: Pass`",
    )
}

/// Returns the message about a namespace in which rules may not redirect.
pub(crate) fn not_permitted(namespace: &str) -> String {
    format!(
        "the administrator does not permit Redirect in the namespace `{namespace}` (`redirect.namespaceSelector`): \
         packets of Redirect rules pass to the stack; all other rules act"
    )
}
