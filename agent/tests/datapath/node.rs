//! Compiles policies and pods from YAML for a node whose pods are all behind one device.

use std::collections::BTreeMap;

use xdp_agent::datapath::Datapath;
use xdp_plan::{
    compile::compile,
    desired::Desired,
    diff::diff,
    facts::{Deliveries, NodeFacts, Readiness},
    manifests::{ManifestObject, parse},
    targets::targets,
    testing::node::{pair, test_stations},
};

use crate::judge::apply;

/// `lo`: a device that always exists. A test run redirects nothing.
pub(crate) const DEVICE: u32 = 1;

/// More attempts than ever needed: one for new elements, one for those that wait for a removal.
const ATTEMPTS: usize = 4;

pub(crate) fn desired(yaml: &str) -> Desired {
    let (objects, errors) = parse("test.yaml", yaml);
    assert!(errors.is_empty(), "{errors:?}");
    let (mut policies, mut pods) = (Vec::new(), Vec::new());
    for object in objects {
        match object {
            ManifestObject::Policy(policy) => policies.push(policy),
            ManifestObject::Pod(pod) => pods.push(pod),
            ManifestObject::Namespace(_) | ManifestObject::NetworkPolicy(_) => {}
        }
    }
    let pairs = pods
        .iter()
        .map(|pod| pair(DEVICE, pod.addresses.clone()))
        .collect();
    let ready = Deliveries {
        redirect: Readiness::Ready,
        peer: Readiness::Ready,
        reply_path: Readiness::Ready,
    };
    let found = targets(
        &policies,
        &pods,
        &NodeFacts {
            pairs,
            ..NodeFacts::default()
        },
    );
    let desired = Desired {
        stations: Some(test_stations()),
        ..compile(&found, &BTreeMap::from([(DEVICE, ready)]))
    };
    assert_eq!((found.problems, &desired.problems), (Vec::new(), &Vec::new()));
    desired
}

/// Applies changes until none is left.
pub(crate) fn program(datapath: &mut Datapath, desired: &Desired) {
    for _ in 0..ATTEMPTS {
        let changes = diff(desired, &datapath.installed().unwrap());
        if changes.is_empty() {
            return;
        }
        apply(datapath, &changes);
    }
    panic!(
        "changes left: {:?}",
        diff(desired, &datapath.installed().unwrap())
    );
}

/// Returns the objects in another namespace.
pub(crate) fn in_namespace(namespace: &str, objects: &str) -> String {
    objects.replace("namespace: games", &format!("namespace: {namespace}"))
}

/// A pod `games/NAME`.
pub(crate) fn pod(name: &str, addresses: &[&str]) -> String {
    let ips: Vec<String> = addresses.iter().map(|ip| format!("{{ip: '{ip}'}}")).collect();
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{namespace: games, name: {name}, labels: {{app: {name}}}}}
status: {{podIPs: [{}]}}
",
        ips.join(", ")
    )
}

/// A policy for the pod of that name; the rules are YAML in flow style.
pub(crate) fn policy(name: &str, pod: &str, rules: &[&str]) -> String {
    let rules: Vec<String> = rules.iter().map(|rule| format!("  - {rule}\n")).collect();
    format!(
        "---
apiVersion: xdp-operator.io/v1alpha1
kind: XdpPolicy
metadata: {{namespace: games, name: {name}}}
spec:
  podSelector: {{matchLabels: {{app: {pod}}}}}
  ingress:
{}",
        rules.concat()
    )
}

/// An Ethernet frame with an IPv4 UDP packet to port 7777.
pub(crate) fn udp(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend(source);
    frame.extend(destination);
    frame.extend([0x9c, 0x40, 0x1e, 0x61, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    frame
}
