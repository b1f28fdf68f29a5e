use xdp_crds::network_policy::{CLUSTER_NETWORK_POLICY, ClusterSet};

use super::*;

fn name(namespace: &str, name: &str) -> ObjectName {
    ObjectName::new(namespace, name)
}

fn all() -> Value {
    json!({"namespaceSelector": {}})
}

fn own() -> Value {
    json!({"podSelector": {}})
}

fn without(key: &str) -> Value {
    json!({"namespaceSelector": {},
        "podSelector": {"matchExpressions": [{"key": key, "operator": "DoesNotExist"}]}})
}

fn many(number: usize) -> Vec<Value> {
    (0..number).map(|number| without(&format!("x{number}"))).collect()
}

/// A server with a pod `red/a-N` of app `a` for each number.
fn with_pods(numbers: std::ops::Range<usize>) -> Server {
    let mut server = Server::new();
    server.namespace("red", &json!({}));
    for number in numbers {
        add_pod(&mut server, number);
    }
    server
}

fn add_pod(server: &mut Server, number: usize) {
    let ip = format!("10.0.{}.{}", number / 256, number % 256);
    let name = name("red", &format!("a-{number}"));
    server.pod(&name, &json!({"app": "a"}), &[ip], "node-1");
}

/// The only report goes, as when all agents are uninstalled.
fn delete_report(server: &mut Server) {
    let gone = Versioned {
        name: name("", "node-1"),
        version: 9,
        value: None,
    };
    server.apply(StoreEvent::NodeState(Event::Delete(gone)));
}

fn accepted(server: &Server, policy: &str) -> String {
    server.condition(&name("red", policy), "Accepted").1
}

#[test]
fn policies_that_mean_the_same_pods_share_one_set_until_the_last_is_gone() {
    let mut server = with_pods(0..3);
    server.policy(&name("red", "p"), 1, &[all()]);
    let same = json!({"namespaceSelector": {}, "podSelector": {}});
    server.policy(&name("blue", "q"), 1, &[same]);
    server.pass(STATUS_INTERVAL);
    assert_eq!(server.sets.len(), 1);
    server.delete_policy(&name("red", "p"));
    server.pass(STATUS_INTERVAL);
    assert_eq!(server.sets.len(), 1);
    server.delete_policy(&name("blue", "q"));
    server.pass(STATUS_INTERVAL);
    assert_eq!(server.sets.len(), 0);
}

#[test]
fn a_pod_with_a_new_address_is_one_write_for_each_distinct_set_and_no_second() {
    let mut server = with_pods(0..3);
    server.policy(&name("red", "p"), 1, &[all(), own()]);
    server.policy(&name("red", "q"), 1, &[all()]);
    server.pass(STATUS_INTERVAL);
    server.writes.clear();
    server.pod(
        &name("red", "a-1"),
        &json!({"app": "a"}),
        &["10.9.9.9".to_owned()],
        "node-1",
    );
    server.pass(Duration::from_secs(10));
    assert_eq!(server.writes.len(), 2, "{:?}", server.writes);
}

#[test]
fn a_label_that_no_selector_asks_for_and_a_new_agent_version_change_nothing() {
    let mut server = with_pods(0..3);
    server.policy(&name("red", "p"), 1, &[all()]);
    server.pass(STATUS_INTERVAL);
    let labels = json!({"app": "a", "x": "y"});
    server.pod(&name("red", "a-1"), &labels, &["10.0.0.1".to_owned()], "node-1");
    server.report("node-1", &json!({"agentVersion": "2"}));
    assert_eq!(server.reconciler.start(server.now, &time()), None);
    assert_eq!(server.reconciler.due(), None, "nothing waits either");
}

#[test]
fn a_set_of_another_namespace_waits_for_one_write_of_a_namespace_with_many() {
    let mut server = with_pods(0..3);
    server.policy(&name("hostile", "p"), 1, &many(LIMITS.sets));
    server.policy(&name("red", "q"), 1, &[own()]);
    server.pass(Duration::from_secs(10));
    add_pod(&mut server, 7);
    let first: Vec<String> = (0..2)
        .filter_map(|_| server.reconciler.start(server.now, &time()))
        .map(|command| format!("{command:?}"))
        .collect();
    assert!(
        first.iter().any(|text| text.contains("of namespace red")),
        "{first:?}"
    );
}

#[test]
fn a_namespace_with_too_many_selectors_is_refused_the_policy_by_name_and_keeps_the_others() {
    let mut server = with_pods(0..3);
    server.policy(&name("red", "p"), 1, &[all()]);
    server.pass(STATUS_INTERVAL);
    server.policy(&name("red", "q"), 1, &many(64));
    server.pass(STATUS_INTERVAL);
    assert_eq!(server.sets.len(), 1);
    assert_eq!(accepted(&server, "q"), "LimitExceeded");
    let policy = server.reconciler.cluster.policies.get(&name("red", "q")).unwrap();
    let message = &policy.status.as_ref().unwrap().conditions[0].message;
    assert!(message.contains("more than 4 distinct selectors"), "{message}");
    assert_eq!(accepted(&server, "p"), "Accepted");
}

#[test]
fn a_refused_policy_keeps_its_last_accepted_version_and_is_accepted_when_there_is_room() {
    let mut server = with_pods(0..3);
    server.policy(&name("red", "p"), 1, &many(3));
    server.policy(&name("red", "q"), 1, &[all()]);
    server.pass(STATUS_INTERVAL);
    server.policy(&name("red", "q"), 2, &[own(), without("y")]);
    server.pass(STATUS_INTERVAL);
    assert_eq!(accepted(&server, "q"), "LimitExceeded");
    assert_eq!(
        server.sets.len(),
        4,
        "three, and the last accepted version of the other"
    );
    server.delete_policy(&name("red", "p"));
    server.pass(STATUS_INTERVAL);
    assert_eq!(accepted(&server, "q"), "Accepted");
    assert_eq!(server.sets.len(), 2);
}

#[test]
fn a_policy_that_was_accepted_stays_accepted_after_a_restart() {
    let mut server = with_pods(0..3);
    server.policy(&name("red", "z"), 1, &many(3));
    server.pass(STATUS_INTERVAL);
    server.policy(&name("red", "a"), 1, &[all(), own()]);
    server.pass(STATUS_INTERVAL);
    let mut next = Server::with(std::mem::take(&mut server.sets));
    next.policies = server.policies.clone();
    for policy in [name("red", "a"), name("red", "z")] {
        next.echo_policy(&policy);
    }
    next.complete();
    next.pass(STATUS_INTERVAL);
    assert_eq!(accepted(&next, "z"), "Accepted");
    assert_eq!(accepted(&next, "a"), "LimitExceeded");
}

#[test]
fn a_policy_that_the_leader_has_accepted_stays_accepted_with_the_next_leader() {
    let mut leader = with_pods(0..3);
    leader.policy(&name("red", "z"), 1, &many(3));
    leader.policy(&name("red", "a"), 1, &[all(), own()]);
    leader.pass(STATUS_INTERVAL);
    assert_eq!(accepted(&leader, "z"), "Accepted");
    // It reads them in another order, and then what the leader has written.
    let mut next = with_pods(0..3);
    next.policy(&name("red", "a"), 1, &[all(), own()]);
    next.policy(&name("red", "z"), 1, &many(3));
    next.policies = leader.policies.clone();
    next.echo_policy(&name("red", "a"));
    next.echo_policy(&name("red", "z"));
    next.pass(STATUS_INTERVAL);
    assert_eq!(accepted(&next, "z"), "Accepted");
    assert_eq!(accepted(&next, "a"), "LimitExceeded");
    assert_eq!(next.sets.len(), 3);
}

#[test]
fn addresses_beyond_the_limit_are_refused_when_a_policy_comes_and_not_when_pods_come() {
    let mut server = with_pods(0..LIMITS.addresses);
    server.policy(&name("red", "p"), 1, &[all()]);
    server.pass(STATUS_INTERVAL);
    for number in LIMITS.addresses..LIMITS.addresses + 100 {
        add_pod(&mut server, number);
    }
    server.pass(STATUS_INTERVAL);
    assert_eq!(accepted(&server, "p"), "Accepted");
    assert_eq!(server.sets.len(), 2, "two slices");
    server.policy(&name("red", "q"), 1, &[without("x")]);
    server.pass(STATUS_INTERVAL);
    assert_eq!(accepted(&server, "q"), "LimitExceeded");
}

#[test]
fn of_a_policy_with_too_many_addresses_no_set_is_left() {
    let mut server = with_pods(0..LIMITS.addresses / 2);
    server.policy(&name("red", "p"), 1, &many(4));
    server.pass(STATUS_INTERVAL);
    assert_eq!(accepted(&server, "p"), "LimitExceeded");
    assert_eq!(
        (server.sets.len(), server.reconciler.snapshot().peer_sets),
        (0, 0)
    );
}

#[test]
fn without_an_agent_there_are_no_sets_and_with_the_first_report_they_are_written() {
    let mut server = with_pods(0..3);
    server.policy(&name("red", "p"), 1, &[all()]);
    server.pass(STATUS_INTERVAL);
    assert_eq!(server.sets.len(), 1);
    delete_report(&mut server);
    server.pass(STATUS_INTERVAL);
    assert_eq!(server.sets.len(), 0);
    server.report("node-1", &json!({}));
    server.pass(STATUS_INTERVAL);
    assert_eq!(server.sets.len(), 1);
}

#[test]
fn slices_that_were_deleted_without_an_agent_are_all_written_with_the_next_report() {
    let mut server = with_pods(0..LIMITS.addresses);
    server.policy(&name("red", "p"), 1, &[all()]);
    for number in LIMITS.addresses..2500 {
        add_pod(&mut server, number);
    }
    server.pass(STATUS_INTERVAL);
    let before = server.sets.clone();
    assert_eq!(before.len(), 3);
    delete_report(&mut server);
    server.pass(STATUS_INTERVAL);
    assert_eq!(server.sets.len(), 0);
    server.report("node-1", &json!({}));
    server.pass(STATUS_INTERVAL);
    assert_eq!(server.sets, before);
}

#[test]
fn an_answer_that_comes_after_the_deletion_of_a_policy_does_not_bring_it_back() {
    let mut server = with_pods(0..3);
    server.policy(&name("red", "p"), 1, &[all()]);
    server.pass(STATUS_INTERVAL);
    let answer = server.stored_policy(&name("red", "p"));
    server.delete_policy(&name("red", "p"));
    server
        .reconciler
        .finish_status(&name("red", "p"), Ok(answer), server.now);
    server.pass(STATUS_INTERVAL);
    assert_eq!(
        (server.sets.len(), server.reconciler.snapshot().peer_sets),
        (0, 0)
    );
}

#[test]
fn pods_of_a_namespace_whose_labels_are_unknown_are_in_no_set_that_asks_for_labels() {
    let mut server = Server::new();
    for number in 0..3 {
        add_pod(&mut server, number);
    }
    let not_quarantined = json!({"namespaceSelector": {"matchExpressions": [
        {"key": "quarantine", "operator": "DoesNotExist"}]}});
    server.policy(&name("red", "p"), 1, &[not_quarantined]);
    let addresses = |server: &mut Server| {
        server.pass(STATUS_INTERVAL);
        server.reconciler.snapshot().peer_addresses
    };
    assert_eq!(addresses(&mut server), 0);
    server.namespace("red", &json!({"quarantine": "yes"}));
    assert_eq!(addresses(&mut server), 0);
    server.namespace("red", &json!({}));
    assert_eq!(addresses(&mut server), 3);
}

#[test]
fn an_object_that_belongs_to_no_set_is_deleted() {
    let mut server = Server::new();
    let spec = XdpPeerSetSpec {
        networks: Vec::new(),
        selection: "x".into(),
        slice: 0,
        slices: 1,
        addresses: Vec::new(),
    };
    for text in ["by-hand", &format!("{}-0", "a".repeat(56))] {
        let stray = name(NAMESPACE, text);
        server.sets.insert(stray.clone(), (String::new(), spec.clone()));
        server.echo(&stray);
    }
    server.pass(STATUS_INTERVAL);
    assert_eq!(server.sets.len(), 0);
}

#[test]
fn a_status_is_written_later_the_more_nodes_read_it() {
    let mut server = with_pods(0..3);
    for number in 0..2000 {
        let (node, ip) = (
            format!("node-{number}"),
            format!("10.1.{}.{}", number / 256, number % 256),
        );
        server.pod(&name("wide", &node), &json!({"app": "a"}), &[ip], &node);
    }
    server.policy(&name("wide", "p"), 1, &[]);
    server.policy(&name("red", "p"), 1, &[]);
    server.write_all();
    assert_eq!(server.writes.len(), 2);
    server.writes.clear();
    server.delete_pod(&name("red", "a-1"));
    server.node("node-5");
    server.pass(STATUS_INTERVAL);
    server.pass(2 * STATUS_INTERVAL);
    assert_eq!(server.writes, ["status red/p"]);
    server.pass(2 * STATUS_INTERVAL);
    assert_eq!(server.writes, ["status red/p", "status wide/p"]);
}

#[test]
fn a_refused_policy_does_not_stop_the_others_and_one_that_is_being_deleted_keeps_its_sets_until_it_is_gone() {
    let mut server = with_pods(0..3);
    server.policy_with(&name("red", "bad"), 1, &json!({"podSelector": 7}));
    server.policy(&name("red", "p"), 1, &[all()]);
    server.pass(STATUS_INTERVAL);
    assert_eq!(accepted(&server, "bad"), "InvalidSpec");
    assert_eq!(accepted(&server, "p"), "Accepted");
    let counts = Snapshot {
        policies: [((true, false), 1), ((false, false), 1)].into(),
        peer_sets: 1,
        peer_addresses: 3,
    };
    assert_eq!(server.reconciler.snapshot(), counts);
    let mut deleted = server.policies[&name("red", "p")].clone();
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    server.policies.insert(name("red", "p"), deleted);
    server.echo_policy(&name("red", "p"));
    server.writes.clear();
    add_pod(&mut server, 7);
    server.pass(STATUS_INTERVAL);
    assert_eq!((server.sets.len(), server.writes.len()), (1, 1), "no status");
    server.delete_policy(&name("red", "p"));
    server.pass(STATUS_INTERVAL);
    assert_eq!(server.sets.len(), 0);
}

#[test]
fn who_does_not_lead_writes_nothing_and_who_leads_again_writes_what_differs() {
    let mut server = with_pods(0..3);
    server.reconciler.set_leading(false, server.now);
    server.policy(&name("red", "p"), 1, &[all()]);
    assert_eq!(server.reconciler.start(server.now, &time()), None);
    server.reconciler.set_leading(true, server.now);
    server.pass(STATUS_INTERVAL);
    assert_eq!((server.sets.len(), server.writes.len()), (1, 2));
}

#[test]
fn network_policies_have_sets_only_where_a_policy_redirects() {
    let mut server = Server::new();
    server.network_policy(&name("m", "friends"), &[own()]);
    server.policy(&name("m", "drops"), 1, &[]);
    server.pass(Duration::from_secs(1));
    assert_eq!(server.sets.len(), 0);
    server.policy_that("Redirect", &name("n", "other"), 1, &[]);
    server.pass(Duration::from_secs(1));
    assert_eq!(server.sets.len(), 0);
    server.policy_that("Redirect", &name("m", "drops"), 2, &[]);
    server.pass(Duration::from_secs(1));
    // The set of its pods, and those of the cluster.
    assert_eq!(server.sets.len(), 1 + ClusterSet::ALL.len());
    server.delete_policy(&name("m", "drops"));
    server.pass(Duration::from_secs(1));
    assert_eq!(server.sets.len(), 0);
}

#[test]
fn network_policies_neither_displace_policies_nor_exceed_a_share_of_their_own() {
    let mut server = Server::new();
    let selectors: Vec<Value> = (0..10).map(|number| without(&format!("key-{number}"))).collect();
    server.network_policy(&name("red", "many"), &selectors);
    server.policy_that("Redirect", &name("red", "p"), 1, &selectors[..LIMITS.sets]);
    server.pass(Duration::from_secs(1));
    assert_eq!(accepted(&server, "p"), "Accepted");
    assert_eq!(server.sets.len(), LIMITS.sets + ClusterSet::ALL.len());
    server.policy_that("Redirect", &name("red", "p"), 2, &selectors[6..6 + LIMITS.sets]);
    server.pass(Duration::from_secs(1));
    assert_eq!(accepted(&server, "p"), "Accepted");
    assert_eq!(server.sets.len(), 2 * LIMITS.sets + ClusterSet::ALL.len());
}

#[test]
fn policies_of_the_cluster_have_sets_while_their_kind_is_served() {
    let mut server = Server::new();
    server.policy_that("Redirect", &name("m", "p"), 1, &[]);
    let policy = json!({
        "metadata": {"name": "c"},
        "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}},
            "ingress": [{"action": "Deny", "from": [{"namespaces": {"matchLabels": {"team": "x"}}}]}]},
    });
    let policy = store::of_cluster(CLUSTER_NETWORK_POLICY, &object(policy));
    server.apply(StoreEvent::NetworkPolicy(
        CLUSTER_NETWORK_POLICY,
        Event::Apply(policy),
    ));
    server.pass(Duration::from_secs(1));
    assert_eq!(server.sets.len(), 1 + ClusterSet::ALL.len());
    server.apply(StoreEvent::NoNetworkPolicies(CLUSTER_NETWORK_POLICY));
    server.pass(Duration::from_secs(1));
    assert_eq!(server.sets.len(), 0);
}
