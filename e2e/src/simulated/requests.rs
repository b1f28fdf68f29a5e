//! What agents ask the API server for.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{API, CrowdSize, RELEASE_NAMESPACE, node_name, selected_by, selection_text};

/// A list and its watch, of the agent of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRequest {
    pub(super) node: usize,
    pub(super) path: String,
}

/// Returns what the agents of these nodes list and watch. `sets` has the label of each set by the text of its
/// selection; without it, agents watch all policies and all sets of the cluster.
pub fn requests(
    size: CrowdSize,
    nodes: Range<usize>,
    sets: Option<&BTreeMap<String, String>>,
) -> Vec<AgentRequest> {
    let (mut namespaces, mut needed) = (BTreeSet::new(), BTreeSet::new());
    for pod in (0..size.pods()).map(|number| size.pod(number)) {
        if !nodes.contains(&pod.node) {
            continue;
        }
        let selection = selected_by(size, &pod).and_then(|policy| selection_text(size.source(policy)));
        if let Some(label) = selection.and_then(|text| sets?.get(&text)) {
            needed.insert((pod.node, label.clone()));
        }
        namespaces.insert((pod.node, pod.namespace));
    }
    let of_node = |node: usize| {
        let name = node_name(node);
        let mut paths = vec![
            format!("/api/v1/nodes?fieldSelector=metadata.name%3D{name}"),
            format!("{API}/xdpnodestates?fieldSelector=metadata.name%3D{name}"),
            format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{name}"),
        ];
        if sets.is_none() {
            paths.push(format!("{API}/xdppolicies?"));
            paths.push(format!("{API}/xdppeersets?"));
            return paths;
        }
        let own = |(of, text): &(usize, String)| (*of == node).then(|| text.clone());
        let namespaces = namespaces.iter().filter_map(own);
        paths.extend(namespaces.map(|name| format!("{API}/namespaces/{name}/xdppolicies?")));
        let labels: Vec<String> = needed.iter().filter_map(own).collect();
        if !labels.is_empty() {
            paths.push(format!(
                "{API}/namespaces/{RELEASE_NAMESPACE}/xdppeersets?labelSelector=xdp-operator.io/peer-set%20in%20({})",
                labels.join(",")
            ));
        }
        paths
    };
    nodes
        .flat_map(|node| {
            of_node(node)
                .into_iter()
                .map(move |path| AgentRequest { node, path })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_asks_for_its_own_node_and_for_what_its_pods_need() {
        let size = CrowdSize {
            nodes: 100,
            policies: 1000,
        };
        let all = [("pods {} of namespaces {}".to_owned(), "abc".to_owned())];
        let own = requests(size, 0..1, Some(&all.into()));
        let paths: Vec<&str> = own.iter().map(|request| request.path.as_str()).collect();
        assert_eq!(
            paths.iter().filter(|path| path.contains("/xdppolicies?")).count(),
            10
        );
        assert!(
            paths.contains(&"/api/v1/pods?fieldSelector=spec.nodeName%3Dn0"),
            "{paths:?}"
        );
        assert!(
            paths.iter().any(|path| path.ends_with("peer-set%20in%20(abc)")),
            "{paths:?}"
        );
        let whole = requests(size, 0..1, None);
        assert_eq!(whole.len(), 5);
    }
}
