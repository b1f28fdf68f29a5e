//! Helpers for addresses that move while the client sends to them, so that misdelivered packets show.

use std::{process::Command, time::Duration};

use xdp_e2e::Status;
use xdp_lab::{LabPod, Namespace};

use crate::fixture::Fixture;

/// Makes a pod's unbound sockets receive packets for the addresses of all pods.
pub(crate) fn accept_all_addresses(pod: &Namespace) {
    ip(pod, "route add local 10.2.0.0/16 dev lo");
}

/// Adds a client route to the addresses of all pods, present or absent.
pub(crate) fn route_all_addresses(fixture: &Fixture) {
    let route = format!("route add 10.2.0.0/16 via {}", fixture.nic.v4);
    ip(&fixture.client, &route);
}

/// Runs `ip` in a namespace.
#[track_caller]
pub(crate) fn ip(namespace: &Namespace, arguments: &str) {
    let mut command = Command::new("ip");
    command.args(arguments.split(' '));
    let finished = namespace
        .spawn(command)
        .unwrap()
        .finish(Duration::from_secs(20))
        .unwrap();
    assert!(finished.status.success(), "ip {arguments}: {}", finished.stderr);
}

/// Writes a pod's object, independent of its interface.
pub(crate) fn object(fixture: &Fixture, name: &str, app: &str, number: u8) {
    let text = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{namespace: games, name: {name}, uid: uid-of-{name}, labels: {{app: \
         {app}}}}}, status: {{podIPs: [{{ip: 10.2.0.{number}}}]}}}}"
    );
    fixture.manifests.write(&format!("{name}.yaml"), &text).unwrap();
}

/// Returns whether the pod is ready at its interface with this address and no other.
pub(crate) fn leads(status: &Status, name: &str, pod: &LabPod, address: &str) -> bool {
    status.ready(name)
        && status.pod(name).is_some_and(|shown| {
            shown["interface"] == pod.host_interface.as_str()
                && shown["ifindex"] == pod.host_ifindex
                && shown["addresses"]
                    .as_array()
                    .is_some_and(|all| matches!(all.as_slice(), [only] if *only == address))
        })
}
