use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1 as k8s;
use kube::{
    core::{DynamicObject, PartialObjectMeta, Status},
    runtime::watcher::{
        Event, {self},
    },
};
use serde_json::{Value, json};
use xdp_crds::XdpNodeStateStatus;

use crate::source::cluster::{
    cache::Cache,
    listed::Listed,
    objects,
    problems::{Trouble, not_written, watch_problem},
};

fn dynamic(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn policy(name: &str, spec: &Value) -> DynamicObject {
    dynamic(json!({
        "apiVersion": "xdp-operator.io/v1alpha1",
        "kind": "XdpPolicy",
        "metadata": {"namespace": "games", "name": name, "uid": "u", "generation": 3},
        "spec": spec,
    }))
}

fn pod(namespace: &str) -> k8s::Pod {
    serde_json::from_value(json!({
        "metadata": {"namespace": namespace, "name": "a"},
        "status": {"podIP": "10.0.0.1"},
    }))
    .unwrap()
}

fn node(labels: &Value) -> PartialObjectMeta<k8s::Node> {
    serde_json::from_value(json!({"metadata": {"name": "n", "uid": "u", "labels": labels}})).unwrap()
}

/// One whole list.
fn list<V: PartialEq>(
    listed: &mut Listed<V>,
    items: impl IntoIterator<Item = (crate::source::cluster::listed::Key, V)>,
) {
    listed.apply(Event::Init);
    for item in items {
        listed.apply(Event::InitApply(item));
    }
    listed.apply(Event::InitDone);
}

fn reasons(cache: &mut Cache, now: Instant) -> Vec<String> {
    let problems = cache.problems("n", now);
    problems.into_iter().map(|problem| problem.reason).collect()
}

/// Everything was listed: a node and nothing else.
fn known() -> Cache {
    let mut cache = Cache::default();
    list(&mut cache.policies, []);
    list(&mut cache.peer_sets, []);
    list(&mut cache.pods, []);
    let object = node(&json!({"zone": "a"}));
    list(
        &mut cache.nodes,
        [(objects::key(&object.metadata), objects::node(object))],
    );
    cache.mark_changed(Instant::now());
    cache
}

#[test]
fn a_malformed_policy_names_its_field_and_does_not_hide_the_others() {
    let good = json!({"podSelector": {}, "ingress": [{"name": "all", "action": "Pass"}]});
    let bad = json!({"podSelector": {}, "ingress": [{"name": "all", "action": "Pas"}]});
    let strange = json!({"podSelector": {}, "colour": "red"});
    let invalid = json!({"podSelector": {}, "priority": 1001});
    let message = |spec: &Value| objects::policy(policy("p", spec)).content.unwrap_err().message;
    assert!(objects::policy(policy("p", &good)).content.is_ok());
    assert!(
        message(&bad).starts_with("`spec.ingress[0].action`: unknown variant `Pas`"),
        "{}",
        message(&bad)
    );
    assert!(message(&strange).contains("unknown field `colour`"));
    assert!(message(&invalid).contains("spec.priority"));
    let without = dynamic(json!({"metadata": {"namespace": "games", "name": "p", "generation": 3}}));
    let seen = objects::policy(without);
    assert_eq!((seen.generation, seen.content.is_err()), (3, true));
}

#[test]
fn nothing_is_known_before_everything_was_listed() {
    let now = Instant::now();
    let mut cache = known();
    assert!(cache.node_labels().is_some());
    assert_eq!(reasons(&mut cache, now), [] as [&str; 0]);

    cache.pods = Listed::default();
    assert_eq!(cache.node_labels(), None);
    assert_eq!(reasons(&mut cache, now), ["WaitingForCluster"]);
}

#[test]
fn a_node_that_is_gone_keeps_its_labels_and_one_that_never_was_has_none() {
    let now = Instant::now();
    let mut cache = known();
    let object = node(&json!({"zone": "a"}));
    let gone = (objects::key(&object.metadata), objects::node(object));
    assert!(cache.nodes.apply(Event::Delete(gone)));
    cache.mark_changed(now);
    assert_eq!(
        cache.node_labels().map(|labels| labels["zone"].as_str()),
        Some("a")
    );
    assert_eq!(reasons(&mut cache, now), ["NoSuchNode"]);

    let mut cache = Cache::default();
    list(&mut cache.policies, []);
    list(&mut cache.peer_sets, []);
    list(&mut cache.pods, []);
    list(&mut cache.nodes, []);
    assert_eq!(cache.node_labels(), None);
    assert_eq!(reasons(&mut cache, now), ["NoSuchNode"]);
}

#[test]
fn heartbeats_of_the_node_are_no_change() {
    let mut cache = known();
    let mut object = node(&json!({"zone": "a"}));
    object.metadata.resource_version = Some("77".into());
    object.metadata.annotations = Some([("beat".into(), "1".into())].into());
    let beat = (objects::key(&object.metadata), objects::node(object));
    assert!(!cache.nodes.apply(Event::Apply(beat)));
}

#[test]
fn malformed_objects_concern_nodes_with_pods_in_their_namespace() {
    let now = Instant::now();
    let mut cache = known();
    let bad = policy("p", &json!({"podSelector": {}, "priority": 1001}));
    list(
        &mut cache.policies,
        [(objects::key(&bad.metadata), objects::policy(bad))],
    );
    assert_eq!(reasons(&mut cache, now), [] as [&str; 0]);
    let neighbour = pod("games");
    list(
        &mut cache.pods,
        [(objects::key(&neighbour.metadata), objects::pod(&neighbour))],
    );
    assert_eq!(reasons(&mut cache, now), ["BadPriority"]);
}

#[test]
fn a_watch_that_fails_is_a_problem_until_it_speaks_or_has_not_failed_again_for_a_while() {
    let start = Instant::now();
    let trouble = || Trouble::of_watch(&watcher::Error::NoResourceVersion).unwrap();
    let mut cache = known();
    assert!(cache.failed("Pods", trouble(), start));
    assert!(
        !cache.failed("Pods", trouble(), start + Duration::from_secs(40)),
        "the same is no news"
    );
    assert_eq!(
        reasons(&mut cache, start + Duration::from_mins(1)),
        ["Unreachable"]
    );
    assert_eq!(
        reasons(&mut cache, start + Duration::from_secs(90)),
        [] as [&str; 0]
    );

    cache.failed("Pods", trouble(), start);
    assert!(cache.works("Pods"));
    assert!(!cache.works("Pods"));
    assert_eq!(reasons(&mut cache, start), [] as [&str; 0]);
}

#[test]
fn refusals_say_what_helps_and_a_watch_that_is_too_old_is_none() {
    let answer = |code| {
        let status = Status::failure("no", "Because").with_code(code);
        watcher::Error::WatchError(Box::new(status))
    };
    let problem = |code| watch_problem("Pods", &Trouble::of_watch(&answer(code)).unwrap());
    assert_eq!(
        (problem(403).reason.as_str(), problem(404).reason.as_str()),
        ("Forbidden", "NotFound")
    );
    assert!(problem(404).remedy.contains("CRDs"));
    let old = Status::failure(".status.bootId: field not declared in schema", "").with_code(500);
    let old = not_written(&Trouble::from(&kube::Error::Api(Box::new(old))));
    assert!(old.remedy.contains("older than the agent"), "{old:?}");
    assert_eq!(Trouble::of_watch(&answer(410)), None);
}

#[test]
fn the_oldest_change_that_the_loop_has_not_seen_is_the_one_that_counts() {
    let start = Instant::now();
    let mut cache = known();
    cache.take_changed();
    cache.mark_changed(start);
    cache.mark_changed(start + Duration::from_secs(1));
    assert_eq!(cache.take_changed(), Some(start));
    assert_eq!(cache.take_changed(), None);

    let mut cache = Cache::default();
    list(&mut cache.policies, []);
    cache.mark_changed(start);
    assert_eq!(cache.take_changed(), None, "the loop waits for other lists");
}

#[test]
fn the_same_status_again_is_none_to_write() {
    let mut cache = known();
    assert!(cache.set_status(XdpNodeStateStatus::default()));
    assert!(!cache.set_status(XdpNodeStateStatus::default()));
}
