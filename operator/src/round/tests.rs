use kube::{core::DynamicObject, runtime::watcher::Event};
use serde_json::json;
use xdp_client::object::{ObjectName, Versioned};

use super::*;
use crate::world::{
    Change, NodeFacts, {self},
};

fn time() -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(1_000_000).unwrap())
}

fn policy(index: usize, from: &serde_json::Value) -> Change {
    let rule = json!({"name": "r", "action": "Redirect", "from": from});
    let object: DynamicObject = serde_json::from_value(json!({
        "metadata": {"namespace": format!("ns-{}", index % 20), "name": format!("p-{index}"),
            "uid": format!("u-{index}"), "generation": 1},
        "spec": {"podSelector": {"matchLabels": {"app": format!("app-{}", index % 10)}}, "ingress": [rule]},
    }))
    .unwrap();
    Change::Policy(Event::Apply(world::policy(&object)))
}

fn pod(index: usize) -> Change {
    let object = serde_json::from_value(json!({
        "metadata": {"namespace": format!("ns-{}", index % 20), "name": format!("pod-{index}"),
            "labels": {"app": format!("app-{}", index % 10), "pod-template-hash": "0123456789", "tier": "x"}},
        "spec": {"nodeName": format!("node-{}", index % 100), "containers": []},
        "status": {"podIP": format!("10.{}.{}.{}", index / 65536, index / 256 % 256, index % 256)},
    }));
    Change::Pod(Event::Apply(world::pod(&object.unwrap())))
}

fn a_world(policies: usize, pods: usize) -> World {
    let mut world = World::default();
    for index in 0..100 {
        let name = ObjectName::new("", format!("node-{index}"));
        let (version, value) = (1, Some(NodeFacts::default()));
        world.apply(Change::Node(Event::Apply(Versioned { name, version, value })));
        let state: DynamicObject = serde_json::from_value(json!({
            "metadata": {"name": format!("node-{index}")},
            "status": {"agentVersion": "1", "kernelVersion": "6"},
        }))
        .unwrap();
        world.apply(Change::NodeState(Event::Apply(world::node_state(&state))));
    }
    for index in 0..20 {
        let name = ObjectName::new("", format!("ns-{index}"));
        let (version, value) = (1, Some(BTreeMap::new()));
        world.apply(Change::Namespace(Event::Apply(Versioned {
            name,
            version,
            value,
        })));
    }
    for index in 0..pods {
        world.apply(pod(index));
    }
    let from = [json!([{"podSelector": {}}]), json!([{"namespaceSelector": {}}])];
    for index in 0..policies {
        world.apply(policy(index, &from[index % 2]));
    }
    world
}

/// Does what a round says, as the API server would, and notes it as the loop does.
fn carry_out(world: &mut World, memory: &mut Memory, work: &Work, now: Instant) {
    for write in &work.statuses {
        let mut policy = world.policies.get(&write.name).unwrap().clone();
        policy.status = Some(write.status.clone());
        let (name, version, value) = (write.name.clone(), 2, Some(policy));
        world.policies.put(Versioned { name, version, value });
        memory.statuses.succeeded(&write.name, now);
    }
}

#[test]
fn a_status_is_written_once_and_not_twice_within_a_second() {
    let (mut world, mut memory, now) = (a_world(1, 10), Memory::default(), Instant::now());
    let first = work(&world, &mut memory, now, &time());
    assert_eq!(first.statuses.len(), 1);
    carry_out(&mut world, &mut memory, &first, now);
    assert_eq!(work(&world, &mut memory, now, &time()).statuses, []);
    world.apply(Change::Pod(Event::Delete(Versioned {
        name: ObjectName::new("ns-0", "pod-0"),
        version: 1,
        value: None,
    })));
    let early = work(&world, &mut memory, now, &time());
    assert_eq!((early.statuses.len(), early.next), (0, Some(now + STATUS_APART)));
    let later = work(&world, &mut memory, now + STATUS_APART, &time());
    assert_eq!((later.statuses.len(), later.next), (1, None));
}

#[test]
fn slices_that_could_not_be_written_wait_and_others_do_not() {
    let (world, mut memory, now) = (a_world(2, 10), Memory::default(), Instant::now());
    let first = work(&world, &mut memory, now, &time());
    assert_eq!(first.chains.len(), 2);
    memory.peers.failed(&first.chains[0].peer, now, 0.0);
    let second = work(&world, &mut memory, now, &time());
    assert_eq!(second.chains, first.chains[1..]);
    assert_eq!(second.next, memory.peers.wait(&first.chains[0].peer, now));
}

#[test]
fn a_refused_policy_does_not_stop_the_others() {
    let mut world = a_world(1, 10);
    world.apply(policy(1, &json!("nonsense")));
    let work = work(&world, &mut Memory::default(), Instant::now(), &time());
    assert_eq!(work.statuses.len(), 2);
    assert_eq!(work.chains.len(), 1);
    assert_eq!(
        work.tally.policies,
        [((true, false), 1), ((false, false), 1)].into()
    );
}

#[test]
fn nothing_is_written_for_a_policy_on_its_way_out() {
    let mut world = a_world(0, 10);
    let object: DynamicObject = serde_json::from_value(json!({
        "metadata": {"namespace": "ns-0", "name": "p", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"podSelector": {}},
    }))
    .unwrap();
    world.apply(Change::Policy(Event::Apply(world::policy(&object))));
    let work = work(&world, &mut Memory::default(), Instant::now(), &time());
    assert_eq!((work.statuses.len(), work.chains.len()), (0, 0));
}

/// `cargo test --release -p xdp-operator -- --ignored --nocapture a_round`
#[test]
#[ignore = "measures"]
fn a_round_over_5000_pods_and_200_policies() {
    let (mut world, mut memory) = (a_world(200, 5000), Memory::default());
    let first = work(&world, &mut memory, Instant::now(), &time());
    carry_out(&mut world, &mut memory, &first, Instant::now());
    let started = Instant::now();
    for _ in 0..10 {
        work(&world, &mut memory, Instant::now(), &time());
    }
    println!("{:?} per round", started.elapsed() / 10);
}
