//! Fields of a policy that depend on other objects of the cluster, or on its network.

use std::{
    io::ErrorKind,
    net::TcpStream,
    time::{Duration, Instant},
};

use xdp_e2e::installed::{ClusterPodSpec, Installation};

use crate::fixture::{PLAYERS, Rule, deliver};

const ATTEMPTS: u64 = 3;

/// `http` is the name of a container's port in each of these pods.
#[test]
fn a_port_by_its_containers_name_is_rejected_and_refused_at_once() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("language").unwrap();
    let pod = space.pod(&ClusterPodSpec::new("server", "game", 1)).unwrap();
    let rejecting = "{name: no-http, ports: [{protocol: TCP, port: http}], action: Reject}";
    space.policy("game", "game", &[rejecting, PLAYERS]).unwrap();
    space.until_programmed("game", 1).unwrap();
    for _ in 0..ATTEMPTS {
        let start = Instant::now();
        let connect = || TcpStream::connect_timeout(&pod.http(), Duration::from_secs(20));
        let refused = installed.client().run(connect).unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        // Without a response, TCP would retry only after a second.
        assert!(start.elapsed() < Duration::from_secs(1));
    }
    let rule = |name| Rule {
        installed,
        space: &space,
        policy: "game",
        name,
    };
    rule("no-http").expect(&pod, &[("rejected", ATTEMPTS)]);
    assert_eq!(deliver(installed, &pod, 20).with_mark("UDP", 42), 20);
    rule("players").expect(&pod, &[("redirected", 20), ("delivered", 20)]);
}
