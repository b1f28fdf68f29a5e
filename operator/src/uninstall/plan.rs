//! How the agents' `DaemonSet` changes for an uninstall, and when it is done.

use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Pod};
use serde_json::{Value, json};
use xdp_crds::conditions::PROGRAMMED;

use crate::{status, store::PolicyObject};

/// The name of the agent's container.
pub(super) const CONTAINER: &str = "agent";

/// Flags of `run` that `uninstall` has as well.
const SHARED: [&str; 2] = ["--health-probe-bind-address", "--pin-dir"];

/// Returns a strategic merge patch that makes the agents of all pods uninstall, all at once. `None` if the
/// set has no agent.
pub(super) fn patch(set: &DaemonSet) -> Option<Value> {
    let pod = set.spec.as_ref()?.template.spec.as_ref()?;
    let agent = pod
        .containers
        .iter()
        .find(|container| container.name == CONTAINER)?;
    let args = args(agent.args.as_deref().unwrap_or_default());
    Some(json!({"spec": {
        "updateStrategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": "100%", "maxSurge": 0},
        },
        "template": {"spec": {"containers": [{"name": CONTAINER, "args": args}]}},
    }}))
}

/// Converts `run --health-probe-bind-address=… --nic=…` to `uninstall --wait --health-probe-bind-address=…`.
fn args(run: &[String]) -> Vec<String> {
    let mut args = vec!["uninstall".to_owned(), "--wait".to_owned()];
    let mut run = run.iter();
    while let Some(arg) = run.next() {
        let (flag, value) = arg
            .split_once('=')
            .map_or((arg.as_str(), None), |(flag, value)| (flag, Some(value)));
        if !SHARED.contains(&flag) {
            continue;
        }
        if let Some(value) = value.or_else(|| run.next().map(String::as_str)) {
            args.push(format!("{flag}={value}"));
        }
    }
    args
}

/// Returns whether the set has an annotation, with any value.
pub(super) fn is_annotated(set: &DaemonSet, annotation: &str) -> bool {
    let annotations = set.metadata.annotations.as_ref();
    annotations.is_some_and(|all| all.contains_key(annotation))
}

/// Returns whether all pods have the latest version and are ready.
pub(super) fn is_done(set: &DaemonSet) -> bool {
    let Some(status) = &set.status else { return false };
    let wanted = status.desired_number_scheduled;
    status.observed_generation >= set.metadata.generation
        && status.updated_number_scheduled.unwrap_or_default() >= wanted
        && status.number_ready >= wanted
        && status.current_number_scheduled >= wanted
}

/// Returns a label selector for the pods of a set.
pub(super) fn selector(set: &DaemonSet) -> String {
    let labels = set
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.match_labels.as_ref());
    let labels = labels.into_iter().flatten();
    labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// Returns the nodes whose pod does not have the latest version or is not ready. Nodes without a pod are
/// counted.
pub(super) fn unfinished(set: &DaemonSet, pods: &[Pod]) -> String {
    let generation = set.metadata.generation.unwrap_or_default().to_string();
    let done = pods.iter().filter(|pod| is_finished(pod, &generation)).count();
    let mut nodes: Vec<String> = pods
        .iter()
        .filter(|pod| !is_finished(pod, &generation))
        .map(node_of)
        .collect();
    nodes.sort();
    nodes.dedup();
    let wanted = set
        .status
        .as_ref()
        .map_or(0, |status| status.desired_number_scheduled);
    let without_pod = usize::try_from(wanted)
        .unwrap_or_default()
        .saturating_sub(done + nodes.len());
    if without_pod > 0 {
        nodes.push(format!("{without_pod} without a pod"));
    }
    nodes.join(", ")
}

fn node_of(pod: &Pod) -> String {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    node.unwrap_or_else(|| "(not scheduled)".to_owned())
}

fn is_finished(pod: &Pod, generation: &str) -> bool {
    let labels = pod.metadata.labels.as_ref();
    let newest = labels
        .and_then(|labels| labels.get("pod-template-generation"))
        .is_none_or(|of| of == generation);
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready" && condition.status == "True");
    newest && pod.metadata.deletion_timestamp.is_none() && ready.next().is_some()
}

/// Returns whether a policy claims to be programmed on a node.
pub(super) fn claims(policy: &PolicyObject) -> bool {
    policy.status.as_ref().is_some_and(|status| {
        let programmed = status::find(&status.conditions, PROGRAMMED);
        status.nodes.selected > 0 && programmed.is_some_and(|condition| condition.status == "True")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value: Value) -> DaemonSet {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_agents_arguments_become_those_of_uninstall() {
        let set = set(
            json!({"spec": {"selector": {}, "template": {"spec": {"containers": [
                {"name": "other", "args": ["run"]},
                {"name": "agent", "args": ["run", "--health-probe-bind-address=127.0.0.1:9466",
                    "--metrics-bind-address=[::]:9465", "--nic", "eth*", "--log-format",
                    "json", "--nic-driver=mlx5_core"]}
            ]}}}}),
        );
        let patch = patch(&set).unwrap();
        assert_eq!(
            patch["spec"]["template"]["spec"]["containers"],
            json!([{"name": "agent", "args": ["uninstall", "--wait",
                "--health-probe-bind-address=127.0.0.1:9466"]}])
        );
        assert_eq!(
            patch["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"],
            "100%"
        );
    }

    #[test]
    fn a_set_without_an_agent_is_not_changed() {
        let set =
            set(json!({"spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "a"}]}}}}));
        assert_eq!(patch(&set), None);
    }

    #[test]
    fn a_set_that_another_tool_has_installed_lacks_the_annotation() {
        let helm = "meta.helm.sh/release-name";
        let installed = |annotations: Value| set(json!({"metadata": {"annotations": annotations}}));
        assert!(is_annotated(&installed(json!({helm: "xdp"})), helm));
        assert!(!is_annotated(
            &installed(json!({"argocd.argoproj.io/tracking-id": "x"})),
            helm
        ));
        assert!(!is_annotated(&set(json!({"metadata": {}})), helm));
    }

    #[test]
    fn a_set_is_done_when_all_pods_are_updated_and_ready() {
        let done = |generation: i64, updated: i32, ready: i32| {
            is_done(&set(json!({
                "metadata": {"generation": 2},
                "status": {"observedGeneration": generation, "desiredNumberScheduled": 3,
                    "numberReady": ready,
                    "updatedNumberScheduled": updated, "currentNumberScheduled": 3, "numberMisscheduled": 0}
            })))
        };
        assert!(done(2, 3, 3));
        assert!(!done(1, 3, 3) && !done(2, 2, 3) && !done(2, 3, 2));
    }

    #[test]
    fn remaining_nodes_are_named() {
        let pod = |node: &str, generation: &str, ready: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"labels": {"pod-template-generation": generation}},
                "spec": {"nodeName": node, "containers": []},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}
            }))
            .unwrap()
        };
        let set = set(json!({
            "metadata": {"generation": 2},
            "status": {"desiredNumberScheduled": 4, "numberReady": 1, "currentNumberScheduled": 3,
                "numberMisscheduled": 0}
        }));
        let pods = [
            pod("c", "1", "True"),
            pod("a", "2", "True"),
            pod("b", "2", "False"),
        ];
        assert_eq!(unfinished(&set, &pods), "b, c, 1 without a pod");
    }
}
