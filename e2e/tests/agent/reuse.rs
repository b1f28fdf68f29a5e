//! Reused addresses: the old pod's policy does not apply to the new pod.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use ipnet::{IpNet, Ipv4Net};
use xdp_e2e::Status;
use xdp_lab::{LabPod, Style, UdpReceiver, UdpSender};

use crate::{
    fixture::{Fixture, PATIENCE, at, only_mark},
    flow::{Flow, Traffic},
    moving::{accept_all_addresses, leads, object, route_all_addresses},
};

const REDIRECT: &str = "{name: redirect, ports: [{protocol: UDP, port: 7777}], action: Redirect, mark: 42}";
const DROP: &str = "{name: drop, ports: [{protocol: UDP, port: 9999}], action: Drop}";

/// Sends 50 datagrams to each of the two ports. Returns what arrived, by mark.
fn both_ports(fixture: &Fixture, pod: &LabPod) -> [BTreeMap<u32, u64>; 2] {
    [7777, 9999].map(|port| {
        let to = at(pod.v4(), port);
        let receiver = UdpReceiver::bind(&pod.ns, to).unwrap();
        UdpSender::new(&fixture.client, to).unwrap().send(50).unwrap();
        // A later packet in the same queue shows that all earlier ones are processed.
        let last = at(pod.v4(), 1);
        let through = UdpReceiver::bind(&pod.ns, last).unwrap();
        UdpSender::new(&fixture.client, last).unwrap().send(1).unwrap();
        through.wait_for(1, PATIENCE).unwrap();
        if port != 9999 {
            receiver.wait_for(50, PATIENCE).unwrap();
        }
        receiver.received().marks
    })
}

fn untouched(fixture: &Fixture, pod: &LabPod) {
    let all = BTreeMap::from([(0, 50)]);
    for port in [7777, 9999] {
        let received = fixture.deliver(pod, at(pod.v4(), port), 50);
        assert_eq!(received.marks, all, "port {port}");
    }
}

/// `leave` removes the old pod's interface. Its result is kept until the end.
fn packets_to_the_new_pod_pass<T>(leave: impl FnOnce(LabPod) -> T) {
    let fixture = Fixture::new();
    let old = fixture.pod("old", "game", Style::Ptp, 5);
    fixture.policy("players", &[REDIRECT, DROP]);
    let mut agent = fixture.start(&["old"]);
    assert_eq!(
        both_ports(&fixture, &old),
        [BTreeMap::from([(42, 50)]), BTreeMap::new()]
    );

    agent.kill().unwrap();
    let _remains = leave(old);
    let new = fixture.pod("new", "other", Style::Ptp, 5);
    let status = agent.look();
    assert!(!status.running() && !status.programmed("old"), "{status:?}");
    untouched(&fixture, &new);

    fixture.manifests.remove("old.yaml").unwrap();
    agent.start().unwrap();
    agent.wait_for("the old pod is gone", |status| {
        status.running() && status.pod("old").is_none()
    });
    untouched(&fixture, &new);
}

#[test]
fn without_an_agent_packets_to_a_deleted_pods_address_pass_to_the_new_pod() {
    packets_to_the_new_pod_pass(|old| old.remove().unwrap());
}

#[test]
fn without_an_agent_packets_to_the_address_of_a_pod_without_interface_pass_to_the_new_pod() {
    packets_to_the_new_pod_pass(|old| {
        old.delete_veth().unwrap();
        old
    });
}

/// The old pod's object still exists when the agent starts again, as in a cluster that has not noticed yet.
#[test]
fn a_late_deleted_object_of_a_dead_pod_does_not_affect_the_new_pod() {
    let fixture = Fixture::new();
    let old = fixture.pod("old", "game", Style::Ptp, 5);
    fixture.policy("players", &[REDIRECT, DROP]);
    let mut agent = fixture.start(&["old"]);
    agent.kill().unwrap();
    old.remove().unwrap();
    let new = fixture.pod("new", "other", Style::Ptp, 5);
    agent.start().unwrap();
    agent.wait_for("the agent runs again", Status::running);
    fixture.manifests.remove("old.yaml").unwrap();
    agent.wait_for("the old pod is gone", |status| status.pod("old").is_none());
    untouched(&fixture, &new);
}

/// Creates two pods with a policy each: marks 1 and 2. The client also sends to addresses that are moving.
fn two(fixture: &Fixture) -> [LabPod; 2] {
    let pods = [("a", 5, 1), ("b", 6, 2)].map(|(name, number, mark)| {
        let pod = fixture.pod(name, name, Style::Ptp, number);
        let rule = format!("{{name: {name}, action: Redirect, mark: {mark}}}");
        fixture.policy_with(
            name,
            &format!("podSelector: {{matchLabels: {{app: {name}}}}}"),
            &[&rule],
        );
        accept_all_addresses(&pod.ns);
        pod
    });
    route_all_addresses(fixture);
    pods
}

fn move_in_manifests(fixture: &Fixture, _: &mut [LabPod; 2]) {
    object(fixture, "a", "a", 7);
    object(fixture, "b", "b", 5);
}

fn move_in_kernel(_: &Fixture, [a, b]: &mut [LabPod; 2]) {
    a.set_addresses(&[net(7)]).unwrap();
    b.set_addresses(&[net(5)]).unwrap();
}

fn net(number: u8) -> IpNet {
    Ipv4Net::new_assert([10, 2, 0, number].into(), 32).into()
}

/// Once the status shows the address at its new pod, no packet reaches the old pod or its policy.
fn an_address_moves(steps: [fn(&Fixture, &mut [LabPod; 2]); 2]) {
    let fixture = Fixture::new();
    let mut pods = two(&fixture);
    let agent = fixture.start(&["a", "b"]);
    let any = at(Ipv4Addr::UNSPECIFIED.into(), 7777);
    let [at_a, at_b] = [0, 1].map(|pod: usize| Arc::new(UdpReceiver::bind(&pods[pod].ns, any).unwrap()));
    let traffic = Traffic::new();
    let to = at(net(5).addr(), 7777);
    let begin = |receiver| traffic.add(Flow::new(UdpSender::new(&fixture.client, to).unwrap(), receiver));

    let before = begin(&at_a);
    traffic.more(before, 500);
    let sent = traffic.blind(before);
    assert_eq!(at_a.stream(before).lost(sent), 0);
    assert_eq!(at_a.received().marks.keys().collect::<Vec<_>>(), [&1]);
    for step in steps {
        step(&fixture, &mut pods);
        traffic.more(before, 50);
    }
    agent.wait_for("both addresses have moved", |status| {
        leads(status, "a", &pods[0], "10.2.0.7") && leads(status, "b", &pods[1], "10.2.0.5")
    });
    traffic.end(before);

    let after = begin(&at_b);
    traffic.more(after, 100);
    // Earlier packets are processed as well: they took the same path.
    let first = traffic.end(after);
    assert_eq!(at_b.stream(after).lost(first), 0);
    for receiver in [&at_a, &at_b] {
        receiver.reset();
    }
    let after = begin(&at_b);
    traffic.more(after, 2_000);
    let sent = traffic.end(after);
    only_mark(&at_b.received(), 2, sent);
    assert_eq!(at_b.stream(after).lost(sent), 0);
    assert_eq!(at_a.received().packets, 0);
}

#[test]
fn an_address_that_moves_in_the_objects_first_leaves_its_policy_behind() {
    an_address_moves([move_in_manifests, move_in_kernel]);
}

#[test]
fn an_address_that_moves_in_the_kernel_first_leaves_its_policy_behind() {
    an_address_moves([move_in_kernel, move_in_manifests]);
}
