//! The start: what has to be known before anything that is programmed changes.

use super::*;

fn set(digit: char) -> SetId {
    SetId::parse(&digit.to_string().repeat(SetId::LENGTH)).unwrap()
}

fn messages(cache: &mut Cache) -> Vec<String> {
    let problems = cache.problems("n", Instant::now());
    problems.into_iter().map(|problem| problem.message).collect()
}

#[test]
fn nothing_is_known_until_the_policies_of_all_namespaces_with_pods_and_their_sets_are_listed() {
    let mut cache = Cache::new(false, &[]);
    list_node(&mut cache);
    assert!(
        messages(&mut cache)[0]
            .contains("the first list of XdpPolicies, NetworkPolicies, XdpPeerSets, Pods;")
    );
    list_pods(&mut cache, &["a", "b"]);
    let started = cache.policies.steps(Instant::now()).start;
    assert_eq!(started.len(), 2, "{started:?}");
    let complete = |cache: &mut Cache, id| {
        for event in [Event::Init, Event::InitDone] {
            cache.policies.apply(id, event, Instant::now());
        }
    };
    complete(&mut cache, started[0].0);
    assert!(
        messages(&mut cache)[0]
            .contains("the first list of XdpPolicies (1 of 2), NetworkPolicies, XdpPeerSets;")
    );
    assert_eq!(cache.labels_before_sets(), None);

    complete(&mut cache, started[1].0);
    assert_eq!(
        cache.labels_before_sets(),
        None,
        "NetworkPolicies decide about sets, too"
    );
    list_network_policies(&mut cache, &[]);
    assert!(cache.labels_before_sets().is_some());
    assert_eq!(
        cache.node_labels(),
        None,
        "which sets are needed is not decided yet"
    );
    want_sets(&mut cache, &[&set('a')]);
    assert_eq!(cache.node_labels(), None);
    list_keyed(&mut cache.peer_sets, &[]);
    assert!(cache.node_labels().is_some());
}

#[test]
fn a_namespace_or_a_set_that_comes_later_does_not_delay_the_others() {
    let mut cache = complete();
    list_pods(&mut cache, &["a"]);
    want_sets(&mut cache, &[&set('a')]);
    assert!(cache.node_labels().is_some());
    assert_eq!(messages(&mut cache), [] as [&str; 0]);
}

#[test]
fn policies_are_left_out_until_the_labels_of_their_namespace_are_known() {
    let now = Instant::now();
    let mut cache = completed(Cache::new(true, &[]));
    list_pods(&mut cache, &["games"]);
    list_keyed(&mut cache.policies, &[listed_policy(&json!({"podSelector": {}}))]);
    assert_eq!(cache.policies(now).count(), 0);
    list_keyed(&mut cache.namespaces, &[]);
    assert_eq!(cache.policies(now).count(), 1);
}

#[test]
fn pods_in_the_hosts_network_need_no_policies() {
    let mut cache = complete();
    let mut object = pod("kube-system");
    object.spec = Some(k8s::PodSpec {
        host_network: Some(true),
        ..k8s::PodSpec::default()
    });
    let host = Versioned::new(&object.metadata.clone(), Some(objects::pod(&object)));
    list(&mut cache.pods, [host]);
    assert!(!cache.want_namespaces(Instant::now()));
}

#[test]
fn many_failed_watches_of_a_kind_are_one_problem_with_their_number() {
    let failure = || RequestFailure::of_watch(&WatchError::NoResourceVersion).unwrap();
    let mut cache = complete();
    for id in 0..3 {
        cache.watch_failed(("XdpPolicies", id), failure(), Instant::now());
    }
    let found = messages(&mut cache);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("cannot watch XdpPolicies (3 watches): "),
        "{found:?}"
    );
    assert!(cache.watch_works(("XdpPolicies", 1)), "one of them works");
    assert!(messages(&mut cache)[0].contains("(2 watches)"));
}

#[test]
fn a_slice_that_does_not_say_its_set_is_absent_and_a_malformed_one_is_a_problem() {
    let slice = |label: &str, spec: Value| {
        let labels = json!({"xdp-operator.io/peer-set": label});
        let metadata = json!({"namespace": "xdp", "name": "s", "labels": labels});
        objects::peer_slice(&dynamic(json!({"metadata": metadata, "spec": spec})))
    };
    let spec = || json!({"selection": "all", "slice": 0, "slices": 1, "addresses": ["10.0.0.1"]});
    let id = set('a');
    assert_eq!(slice(id.as_str(), spec()).unwrap().unwrap().set, id);
    assert_eq!(slice("players", spec()), None);
    assert_eq!(
        objects::peer_slice(&dynamic(json!({"metadata": {"name": "s"}}))),
        None
    );

    let malformed = slice(id.as_str(), json!({"slice": -1})).unwrap();
    let mut cache = complete();
    want_sets(&mut cache, &[&id]);
    let name = ObjectName::new("xdp", "s");
    list_keyed(
        &mut cache.peer_sets,
        &[Versioned {
            name,
            version: 1,
            value: Some(malformed),
        }],
    );
    assert_eq!(reasons(&mut cache, Instant::now()), ["BadValue"]);
}
