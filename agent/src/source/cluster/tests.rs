mod network_policies;
mod requests;
mod start;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1 as k8s;
use kube::core::{DynamicObject, PartialObjectMeta, Status};
use serde_json::{Value, json};
use xdp_client::{
    Store,
    discovery::ServedKinds,
    object::{ObjectName, Versioned},
    watch::{Event, WatchError},
};
use xdp_crds::{XdpNodeStateStatus, network_policy::NETWORK_POLICY, policy::SetId};
use xdp_plan::{
    network_policy::KnownPolicy, pod::Pod, policy::MarkMask, report::Problem, resolve::PolicyVersion,
};

use crate::source::cluster::{
    cache::Cache,
    keyed::KeyedStore,
    objects,
    problems::{RequestFailure, watch_problem, write_problem},
};

/// The bits that the marks of rules may have.
const MASK: MarkMask = MarkMask(0xff);

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

/// Applies one complete list.
fn list<V: PartialEq>(store: &mut Store<V>, objects: impl IntoIterator<Item = Versioned<V>>) {
    store.apply(Event::Init);
    for object in objects {
        store.apply(Event::InitApply(object));
    }
    store.apply(Event::InitDone);
}

fn reasons(cache: &mut Cache, now: Instant) -> Vec<String> {
    let problems = cache.problems("n", now);
    problems.into_iter().map(|problem| problem.reason).collect()
}

/// All lists are complete: there is a node and nothing else.
fn complete() -> Cache {
    completed(Cache::new(false, &[]))
}

/// Applies one complete list of all watches that have to start.
fn list_keyed<V: PartialEq + Clone>(store: &mut KeyedStore<V>, objects: &[Versioned<V>]) {
    let now = Instant::now();
    for (id, _) in store.steps(now).start {
        store.apply(id, Event::Init, now);
        for object in objects {
            store.apply(id, Event::InitApply(object.clone()), now);
        }
        store.apply(id, Event::InitDone, now);
    }
}

fn listed_pod(namespace: &str) -> Versioned<Result<Pod, Problem>> {
    let pod = pod(namespace);
    Versioned::new(&pod.metadata.clone(), Some(objects::pod(&pod)))
}

fn listed_policy(spec: &Value) -> Versioned<PolicyVersion> {
    let object = policy("p", spec);
    Versioned::new(&object.metadata.clone(), Some(objects::policy(object, MASK)))
}

/// Lists pods in these namespaces.
fn list_pods(cache: &mut Cache, namespaces: &[&str]) {
    list(
        &mut cache.pods,
        namespaces.iter().map(|namespace| listed_pod(namespace)),
    );
    cache.want_namespaces(Instant::now());
}

fn want_sets(cache: &mut Cache, sets: &[&SetId]) {
    let sets = sets.iter().map(|set| (*set).clone()).collect();
    cache.want_sets(&sets, Instant::now());
}

/// Completes all lists of a node without pods.
fn completed(mut cache: Cache) -> Cache {
    list_pods(&mut cache, &[]);
    list_network_policies(&mut cache, &[]);
    want_sets(&mut cache, &[]);
    list_node(&mut cache);
    cache
}

/// Completes the lists of `NetworkPolicies`; no other kind is served.
fn list_network_policies(cache: &mut Cache, objects: &[Versioned<KnownPolicy>]) {
    let now = Instant::now();
    cache.network.set_served(&ServedKinds::default(), now);
    cache.want_network_policies(now);
    list_keyed(cache.network.store(NETWORK_POLICY).unwrap(), objects);
    cache.network.advance(true, now);
}

fn list_node(cache: &mut Cache) {
    let object = node(&json!({"zone": "a"}));
    list(
        &mut cache.nodes,
        [Versioned::new(
            &object.metadata.clone(),
            Some(objects::node(object)),
        )],
    );
    cache.mark_changed(Instant::now());
}

#[test]
fn a_malformed_policy_names_its_field_and_does_not_hide_the_others() {
    let good = json!({"podSelector": {}, "ingress": [{"name": "all", "action": "Pass"}]});
    let bad = json!({"podSelector": {}, "ingress": [{"name": "all", "action": "Pas"}]});
    let strange = json!({"podSelector": {}, "colour": "red"});
    let invalid = json!({"podSelector": {}, "priority": 1001});
    let message = |spec: &Value| {
        objects::policy(policy("p", spec), MASK)
            .content
            .unwrap_err()
            .message
    };
    assert!(objects::policy(policy("p", &good), MASK).content.is_ok());
    assert!(
        message(&bad).starts_with("`spec.ingress[0].action`: unknown variant `Pas`"),
        "{}",
        message(&bad)
    );
    assert!(message(&strange).contains("unknown field `colour`"));
    assert!(message(&invalid).contains("spec.priority"));
    let marked = |mark: u32| {
        let rule = json!({"name": "all", "action": "Redirect", "mark": mark});
        json!({"podSelector": {}, "ingress": [rule]})
    };
    assert!(objects::policy(policy("p", &marked(0xff)), MASK).content.is_ok());
    assert!(message(&marked(0x100)).contains("outside the administrator's mask 0xff"));
    let without = dynamic(json!({"metadata": {"namespace": "games", "name": "p", "generation": 3}}));
    let seen = objects::policy(without, MASK);
    assert_eq!((seen.generation, seen.content.is_err()), (3, true));
}

#[test]
fn the_cache_has_no_objects_until_all_lists_are_complete() {
    let now = Instant::now();
    let mut cache = complete();
    assert!(cache.node_labels().is_some());
    assert_eq!(reasons(&mut cache, now), [] as [&str; 0]);

    cache.pods = Store::default();
    assert_eq!(cache.node_labels(), None);
    assert_eq!(reasons(&mut cache, now), ["WaitingForCluster"]);
}

#[test]
fn namespaces_are_waited_for_only_if_their_labels_decide_about_redirects() {
    let now = Instant::now();
    let with_pod = |needs_namespaces| {
        let mut cache = Cache::new(needs_namespaces, &[]);
        list_pods(&mut cache, &["games"]);
        list_keyed(&mut cache.policies, &[]);
        list_network_policies(&mut cache, &[]);
        want_sets(&mut cache, &[]);
        list_node(&mut cache);
        cache
    };
    let mut cache = with_pod(true);
    assert_eq!(cache.node_labels(), None);
    assert_eq!(reasons(&mut cache, now), ["WaitingForCluster"]);

    let labels = BTreeMap::from([("redirect".to_owned(), "allowed".to_owned())]);
    let games = Versioned {
        name: ObjectName::new("", "games"),
        version: 1,
        value: Some(labels.clone()),
    };
    list_keyed(&mut cache.namespaces, &[games]);
    assert!(cache.node_labels().is_some());
    assert_eq!(cache.namespaces(), BTreeMap::from([("games".to_owned(), labels)]));
    assert!(with_pod(false).node_labels().is_some());
}

#[test]
fn an_absent_node_keeps_its_labels_and_an_unknown_one_has_none() {
    let now = Instant::now();
    let mut cache = complete();
    let object = node(&json!({"zone": "a"}));
    let gone = Versioned::new(&object.metadata.clone(), Some(objects::node(object)));
    assert!(cache.nodes.apply(Event::Delete(gone)));
    cache.mark_changed(now);
    assert_eq!(
        cache.node_labels().map(|labels| labels["zone"].as_str()),
        Some("a")
    );
    assert_eq!(reasons(&mut cache, now), ["NoSuchNode"]);

    let mut cache = Cache::new(false, &[]);
    list_pods(&mut cache, &[]);
    list_network_policies(&mut cache, &[]);
    want_sets(&mut cache, &[]);
    list(&mut cache.nodes, []);
    assert_eq!(cache.node_labels(), None);
    assert_eq!(reasons(&mut cache, now), ["NoSuchNode"]);
}

#[test]
fn heartbeats_of_the_node_are_no_change() {
    let mut cache = complete();
    let mut object = node(&json!({"zone": "a"}));
    object.metadata.resource_version = Some("77".into());
    object.metadata.annotations = Some([("beat".into(), "1".into())].into());
    let beat = Versioned::new(&object.metadata.clone(), Some(objects::node(object)));
    assert!(!cache.nodes.apply(Event::Apply(beat)));
}

#[test]
fn malformed_objects_are_problems_on_nodes_with_pods_in_their_namespace() {
    let now = Instant::now();
    let mut cache = complete();
    list_pods(&mut cache, &["games"]);
    list_keyed(
        &mut cache.policies,
        &[listed_policy(&json!({"podSelector": {}, "priority": 1001}))],
    );
    assert_eq!(reasons(&mut cache, now), ["BadPriority"]);
    list_pods(&mut cache, &[]);
    assert_eq!(reasons(&mut cache, now), [] as [&str; 0]);
}

#[test]
fn a_failed_watch_is_a_problem_until_an_event_or_a_while_without_a_failure() {
    let start = Instant::now();
    let failure = || RequestFailure::of_watch(&WatchError::NoResourceVersion).unwrap();
    let mut cache = complete();
    assert!(cache.watch_failed(("Pods", 0), failure(), start));
    assert!(
        !cache.watch_failed(("Pods", 0), failure(), start + Duration::from_secs(40)),
        "an equal failure is no change"
    );
    assert_eq!(
        reasons(&mut cache, start + Duration::from_mins(1)),
        ["Unreachable"]
    );
    assert_eq!(
        reasons(&mut cache, start + Duration::from_secs(90)),
        [] as [&str; 0]
    );

    cache.watch_failed(("Pods", 0), failure(), start);
    assert!(cache.watch_works(("Pods", 0)));
    assert!(!cache.watch_works(("Pods", 0)));
    assert_eq!(reasons(&mut cache, start), [] as [&str; 0]);
}

#[test]
fn refusals_have_a_remedy_and_an_expired_watch_is_no_problem() {
    let answer = |code| {
        let status = Status::failure("no", "Because").with_code(code);
        WatchError::WatchError(Box::new(status))
    };
    let problem = |code| watch_problem("Pods", &RequestFailure::of_watch(&answer(code)).unwrap(), 1);
    assert_eq!(
        (problem(403).reason.as_str(), problem(404).reason.as_str()),
        ("Forbidden", "NotFound")
    );
    assert!(problem(404).remedy.contains("CRDs"));
    let old = Status::failure(".status.bootId: field not declared in schema", "").with_code(500);
    let old = write_problem(&RequestFailure::from(&kube::Error::Api(Box::new(old))));
    assert!(old.remedy.contains("older than the agent"), "{old:?}");
    assert_eq!(RequestFailure::of_watch(&answer(410)), None);
}

#[test]
fn the_oldest_unread_change_counts() {
    let start = Instant::now();
    let mut cache = complete();
    cache.take_changed();
    cache.mark_changed(start);
    cache.mark_changed(start + Duration::from_secs(1));
    assert_eq!(cache.take_changed(), Some(start));
    assert_eq!(cache.take_changed(), None);

    let mut cache = Cache::new(false, &[]);
    list_pods(&mut cache, &[]);
    cache.mark_changed(start);
    assert_eq!(cache.take_changed(), None, "other lists are incomplete");
}

#[test]
fn an_equal_status_is_not_written_again() {
    let mut cache = complete();
    assert!(cache.set_status(XdpNodeStateStatus::default()));
    assert!(!cache.set_status(XdpNodeStateStatus::default()));
}
