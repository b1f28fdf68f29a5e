//! `NetworkPolicies` and the like: what is known of them, and what concerns this node.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use xdp_client::discovery::ServedKind;
use xdp_crds::network_policy::{CLUSTER_NETWORK_POLICY, PolicyKind};
use xdp_plan::network_policy::{IgnoredKind, all_kinds};

use super::*;

fn network_policy(name: &str, pods: &Value) -> Versioned<KnownPolicy> {
    let spec = json!({"podSelector": pods, "policyTypes": ["Ingress"]});
    let object = json!({"metadata": {"namespace": "games", "name": name}, "spec": spec});
    let object: NetworkPolicy = serde_json::from_value(object).unwrap();
    Versioned::new(&object.metadata, objects::network_policy(&object))
}

fn served(kinds: &[PolicyKind]) -> ServedKinds {
    let kind = |kind: &PolicyKind| ServedKind {
        resource: kube::api::ApiResource {
            group: kind.group.to_owned(),
            version: "v1alpha2".to_owned(),
            api_version: format!("{}/v1alpha2", kind.group),
            kind: kind.kind.to_owned(),
            plural: "policies".to_owned(),
        },
        namespaced: false,
    };
    ServedKinds {
        kinds: kinds.iter().map(kind).collect(),
        ..ServedKinds::default()
    }
}

/// A node with a pod and a policy in `games`.
fn with_policy() -> Cache {
    let mut cache = Cache::new(false, &[]);
    list_pods(&mut cache, &["games"]);
    list_keyed(&mut cache.policies, &[listed_policy(&json!({"podSelector": {}}))]);
    list_node(&mut cache);
    cache
}

fn unlisted(cache: &Cache) -> Vec<(String, Option<String>)> {
    let unlisted = cache.network.policies().unlisted;
    let of = |list: &xdp_plan::network_policy::UnlistedPolicies<'_>| {
        (list.kind.to_string(), list.namespace.map(str::to_owned))
    };
    unlisted.iter().map(of).collect()
}

#[test]
fn only_namespaces_with_pods_and_a_policy_are_asked_for_network_policies() {
    let mut cache = Cache::new(false, &[]);
    list_pods(&mut cache, &["games", "web"]);
    assert!(
        !cache.want_network_policies(Instant::now()),
        "policies are not known"
    );
    for (id, keys) in cache.policies.steps(Instant::now()).start {
        let listed = listed_policy(&json!({"podSelector": {}}));
        cache.policies.apply(id, Event::Init, Instant::now());
        if keys.contains("games") {
            cache.policies.apply(id, Event::InitApply(listed), Instant::now());
        }
        cache.policies.apply(id, Event::InitDone, Instant::now());
    }
    assert!(cache.want_network_policies(Instant::now()));
    let steps = cache.network.store(NETWORK_POLICY).unwrap().steps(Instant::now());
    assert_eq!(steps.start.len(), 1);
    assert!(steps.start[0].1.contains("games"));
}

#[test]
fn a_kind_is_unlisted_until_discovery_says_that_it_is_not_served_or_its_list_is_complete() {
    let now = Instant::now();
    let mut cache = with_policy();
    cache.want_network_policies(now);
    let of_games = ("NetworkPolicy".to_owned(), Some("games".to_owned()));
    assert_eq!(unlisted(&cache).len(), all_kinds().count(), "nothing is known");
    assert!(unlisted(&cache).contains(&of_games));

    let changed = cache.network.set_served(&served(&[CLUSTER_NETWORK_POLICY]), now);
    assert_eq!(changed, [CLUSTER_NETWORK_POLICY]);
    assert_eq!(
        unlisted(&cache),
        [of_games, ("ClusterNetworkPolicy".to_owned(), None)]
    );
    list_keyed(cache.network.store(NETWORK_POLICY).unwrap(), &[]);
    list_keyed(cache.network.store(CLUSTER_NETWORK_POLICY).unwrap(), &[]);
    assert_eq!(unlisted(&cache), []);

    assert_eq!(
        cache.network.set_served(&served(&[]), now),
        [CLUSTER_NETWORK_POLICY]
    );
    assert!(cache.network.store(CLUSTER_NETWORK_POLICY).is_none());
    assert_eq!(unlisted(&cache), []);
    cache.network.set_served(&served(&[CLUSTER_NETWORK_POLICY]), now);
    assert_eq!(unlisted(&cache).len(), 1, "it has come again");
}

#[test]
fn the_start_waits_for_all_lists_but_no_longer_than_a_minute_for_one_that_the_api_server_refuses() {
    let now = Instant::now();
    let mut cache = with_policy();
    cache.want_network_policies(now);
    cache.network.set_served(&served(&[]), now);
    cache.network.advance(true, now);
    assert!(!cache.network.is_ready());
    assert_eq!(cache.labels_before_sets(), None);
    cache.network.advance(true, now + Duration::from_secs(61));
    assert!(cache.network.is_ready());
    assert_eq!(unlisted(&cache).len(), 1, "nothing is certain for its pods");

    let mut cache = with_policy();
    list_network_policies(&mut cache, &[]);
    assert!(cache.network.is_ready() && cache.labels_before_sets().is_some());
}

#[test]
fn policies_of_a_namespace_wait_for_its_lists_but_not_long_and_only_once() {
    let now = Instant::now();
    let mut cache = with_policy();
    cache.want_network_policies(now);
    assert_eq!(cache.policies(now).count(), 0);
    cache.want_network_policies(now + Duration::from_secs(5));
    assert_eq!(cache.policies(now).count(), 1, "other rules act");

    let mut cache = with_policy();
    list_network_policies(&mut cache, &[]);
    cache.want_network_policies(now);
    assert_eq!(cache.policies(now).count(), 1);
    let mut multi = served(&[PolicyKind {
        group: "k8s.cni.cncf.io",
        kind: "MultiNetworkPolicy",
    }]);
    multi.kinds[0].namespaced = true;
    assert_eq!(cache.network.set_served(&multi, now).len(), 1);
    cache.want_network_policies(now);
    assert_eq!(
        cache.policies(now).count(),
        1,
        "a kind that comes later is unlisted"
    );
    assert_eq!(unlisted(&cache).len(), 1);
}

#[test]
fn a_policy_about_other_pods_wakes_nothing() {
    let now = Instant::now();
    let mut cache = with_policy();
    list_network_policies(&mut cache, &[]);
    let other = json!({"matchLabels": {"app": "other"}});
    let apply = |cache: &mut Cache, event| cache.apply_network_policy((NETWORK_POLICY, 0), event, now);
    assert!(!apply(&mut cache, Event::Apply(network_policy("p", &other))));
    assert!(apply(&mut cache, Event::Apply(network_policy("p", &json!({})))));
    assert!(
        !apply(&mut cache, Event::Apply(network_policy("p", &json!({})))),
        "it is equal"
    );
    assert!(
        apply(&mut cache, Event::Apply(network_policy("p", &other))),
        "it selected a pod"
    );
    assert!(!apply(&mut cache, Event::Delete(network_policy("p", &other))));
}

#[test]
fn ignored_kinds_are_not_asked_for() {
    let ignored = ["NetworkPolicy", "ClusterNetworkPolicy"].map(|kind| kind.parse::<IgnoredKind>().unwrap());
    let now = Instant::now();
    let mut cache = Cache::new(false, &ignored);
    let interests = cache.network.interests();
    let of_tiers = interests
        .iter()
        .filter(|interest| interest.group == CLUSTER_NETWORK_POLICY.group);
    assert_eq!(of_tiers.count(), 2, "AdminNetworkPolicy and its baseline");
    cache.network.set_served(&served(&[CLUSTER_NETWORK_POLICY]), now);
    assert!(cache.network.store(CLUSTER_NETWORK_POLICY).is_none());
    assert!(cache.network.store(NETWORK_POLICY).is_none());
    assert_eq!(unlisted(&cache), []);
}

#[test]
fn a_policy_that_cannot_be_read_is_kept_as_such_and_one_about_egress_is_absent() {
    let operator = json!({"matchExpressions": [{"key": "app", "operator": "Like", "values": ["x"]}]});
    let wrong = network_policy("p", &operator).value;
    assert!(matches!(wrong, Some(KnownPolicy::Unreadable(_))), "{wrong:?}");
    let object =
        dynamic(json!({"metadata": {"name": "p"}, "spec": {"tier": "Admin", "priority": 1, "x": 1}}));
    let wrong = objects::other_policy(CLUSTER_NETWORK_POLICY, object);
    assert!(matches!(wrong, Some(KnownPolicy::Unreadable(_))), "{wrong:?}");
    let egress = json!({"metadata": {"namespace": "games", "name": "p"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"]}});
    let egress: NetworkPolicy = serde_json::from_value(egress).unwrap();
    assert_eq!(objects::network_policy(&egress), None);
}

#[test]
fn a_policy_of_another_engine_is_read_with_its_namespace() {
    let kind = PolicyKind {
        group: "cilium.io",
        kind: "CiliumNetworkPolicy",
    };
    let object = dynamic(
        json!({"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
        "metadata": {"namespace": "games", "name": "p"},
        "spec": {"endpointSelector": {"matchLabels": {"app": "x"}}, "ingress": [{}]}}),
    );
    let Some(policy) = objects::other_policy(kind, object) else {
        panic!("it is known")
    };
    let mut pod = Pod::try_from(&pod("games")).unwrap();
    assert!(!policy.may_select(&pod, None));
    pod.labels.insert("app".to_owned(), "x".to_owned());
    assert!(policy.may_select(&pod, None));
    pod.namespace = "web".to_owned();
    assert!(!policy.may_select(&pod, None));
}
