use kube::{core::DynamicObject, runtime::watcher::Event};
use serde_json::json;
use xdp_client::object::{ObjectName, Versioned};

use super::*;
use crate::store::{
    NodeInfo, StoreEvent, {self},
};

fn time() -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(1_000_000).unwrap())
}

fn policy(index: usize, from: &serde_json::Value) -> StoreEvent {
    let rule = json!({"name": "r", "action": "Redirect", "from": from});
    let object: DynamicObject = serde_json::from_value(json!({
        "metadata": {"namespace": format!("ns-{}", index % 20), "name": format!("p-{index}"),
            "uid": format!("u-{index}"), "generation": 1},
        "spec": {"podSelector": {"matchLabels": {"app": format!("app-{}", index % 10)}}, "ingress": [rule]},
    }))
    .unwrap();
    StoreEvent::Policy(Event::Apply(store::policy(&object)))
}

fn pod(index: usize) -> StoreEvent {
    let object = serde_json::from_value(json!({
        "metadata": {"namespace": format!("ns-{}", index % 20), "name": format!("pod-{index}"),
            "labels": {"app": format!("app-{}", index % 10), "pod-template-hash": "0123456789", "tier": "x"}},
        "spec": {"nodeName": format!("node-{}", index % 100), "containers": []},
        "status": {"podIP": format!("10.{}.{}.{}", index / 65536, index / 256 % 256, index % 256)},
    }));
    StoreEvent::Pod(Event::Apply(store::pod(&object.unwrap())))
}

fn a_cluster(policies: usize, pods: usize) -> ClusterState {
    let mut cluster = ClusterState::default();
    for index in 0..100 {
        let name = ObjectName::new("", format!("node-{index}"));
        let (version, value) = (1, Some(NodeInfo::default()));
        cluster.apply(StoreEvent::Node(Event::Apply(Versioned { name, version, value })));
        let state: DynamicObject = serde_json::from_value(json!({
            "metadata": {"name": format!("node-{index}")},
            "status": {"agentVersion": "1", "kernelVersion": "6"},
        }))
        .unwrap();
        cluster.apply(StoreEvent::NodeState(Event::Apply(store::node_state(&state))));
    }
    for index in 0..20 {
        let name = ObjectName::new("", format!("ns-{index}"));
        let (version, value) = (1, Some(BTreeMap::new()));
        cluster.apply(StoreEvent::Namespace(Event::Apply(Versioned {
            name,
            version,
            value,
        })));
    }
    for index in 0..pods {
        cluster.apply(pod(index));
    }
    let from = [json!([{"podSelector": {}}]), json!([{"namespaceSelector": {}}])];
    for index in 0..policies {
        cluster.apply(policy(index, &from[index % 2]));
    }
    cluster
}

/// Executes the work as the API server would, and records it as the loop does.
fn execute(cluster: &mut ClusterState, memory: &mut ReconcileMemory, work: &Work, now: Instant) {
    for write in &work.statuses {
        let mut policy = cluster.policies.get(&write.name).unwrap().clone();
        policy.status = Some(write.status.clone());
        let (name, version, value) = (write.name.clone(), 2, Some(policy));
        cluster.policies.put(Versioned { name, version, value });
        memory.statuses.succeeded(&write.name, now);
    }
}

#[test]
fn a_status_is_written_once_and_not_twice_within_a_second() {
    let (mut cluster, mut memory, now) = (a_cluster(1, 10), ReconcileMemory::default(), Instant::now());
    let first = decide(&cluster, &mut memory, now, &time());
    assert_eq!(first.statuses.len(), 1);
    execute(&mut cluster, &mut memory, &first, now);
    assert_eq!(decide(&cluster, &mut memory, now, &time()).statuses, []);
    cluster.apply(StoreEvent::Pod(Event::Delete(Versioned {
        name: ObjectName::new("ns-0", "pod-0"),
        version: 1,
        value: None,
    })));
    let early = decide(&cluster, &mut memory, now, &time());
    assert_eq!(
        (early.statuses.len(), early.next),
        (0, Some(now + STATUS_INTERVAL))
    );
    let later = decide(&cluster, &mut memory, now + STATUS_INTERVAL, &time());
    assert_eq!((later.statuses.len(), later.next), (1, None));
}

#[test]
fn failed_writes_of_slices_wait_and_others_do_not() {
    let (cluster, mut memory, now) = (a_cluster(2, 10), ReconcileMemory::default(), Instant::now());
    let first = decide(&cluster, &mut memory, now, &time());
    assert_eq!(first.chains.len(), 2);
    memory.peers.failed(&first.chains[0].peer, now, 0.0);
    let second = decide(&cluster, &mut memory, now, &time());
    assert_eq!(second.chains, first.chains[1..]);
    assert_eq!(second.next, memory.peers.wait(&first.chains[0].peer, now));
}

#[test]
fn a_refused_policy_does_not_stop_the_others() {
    let mut cluster = a_cluster(1, 10);
    cluster.apply(policy(1, &json!("nonsense")));
    let work = decide(&cluster, &mut ReconcileMemory::default(), Instant::now(), &time());
    assert_eq!(work.statuses.len(), 2);
    assert_eq!(work.chains.len(), 1);
    assert_eq!(
        work.snapshot.policies,
        [((true, false), 1), ((false, false), 1)].into()
    );
}

#[test]
fn nothing_is_written_for_a_policy_that_is_being_deleted() {
    let mut cluster = a_cluster(0, 10);
    let object: DynamicObject = serde_json::from_value(json!({
        "metadata": {"namespace": "ns-0", "name": "p", "uid": "u",
            "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"podSelector": {}},
    }))
    .unwrap();
    cluster.apply(StoreEvent::Policy(Event::Apply(store::policy(&object))));
    let work = decide(&cluster, &mut ReconcileMemory::default(), Instant::now(), &time());
    assert_eq!((work.statuses.len(), work.chains.len()), (0, 0));
}

/// `cargo test --release -p xdp-operator -- --ignored --nocapture a_reconcile`
#[test]
#[ignore = "measures"]
fn a_reconcile_of_5000_pods_and_200_policies() {
    let (mut cluster, mut memory) = (a_cluster(200, 5000), ReconcileMemory::default());
    let first = decide(&cluster, &mut memory, Instant::now(), &time());
    execute(&mut cluster, &mut memory, &first, Instant::now());
    let started = Instant::now();
    for _ in 0..10 {
        decide(&cluster, &mut memory, Instant::now(), &time());
    }
    println!("{:?} per reconcile", started.elapsed() / 10);
}
