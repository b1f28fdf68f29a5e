//! The first steps of a new user.

use std::net::SocketAddr;

use xdp_e2e::installed::{ClusterPodSpec, Installation, condition};

use crate::fixture::{PLAYERS, Rule, client, deliver_to};

/// For both network plugins and both address families, the rule, the reader and the pod count what the client
/// sent.
#[test]
fn a_clients_datagrams_are_redirected_to_pods_on_both_nodes_and_all_counts_agree() {
    const PACKETS: u64 = 500;
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("first").unwrap();
    let pods = space
        .pods(&[
            ClusterPodSpec::new("ptp", "game", 1),
            ClusterPodSpec::new("bridge", "game", 2),
        ])
        .unwrap();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    let policy = space.until_programmed("game", 2).unwrap();
    assert_eq!(condition(&policy, "Accepted").unwrap()["status"], "True");
    assert_eq!(
        policy["status"]["nodes"],
        serde_json::json!({"selected": 2, "programmed": 2})
    );
    let rule = Rule {
        installed,
        space: &space,
        policy: "game",
        name: "players",
    };
    for pod in &pods {
        for address in [pod.v4(), pod.v6()] {
            let to = SocketAddr::new(address, 7777);
            let counts = deliver_to(installed, installed.client(), pod, to, PACKETS);
            assert_eq!(counts.from("UDP", client(installed, address)), PACKETS);
            assert_eq!(counts.with_mark("UDP", 0), 0, "{counts:?}");
        }
        assert_eq!(pod.counts().unwrap().with_mark("UDP", 42), 2 * PACKETS);
        rule.expect(pod, &[("redirected", 2 * PACKETS), ("delivered", 2 * PACKETS)]);
    }
}

/// Applies `examples/game.yaml`, which the README links, unchanged.
#[test]
fn the_readmes_example_marks_the_datagrams_of_a_client_on_both_nodes() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let space = installed.space("games").unwrap();
    space.apply(include_str!("../../../examples/game.yaml")).unwrap();
    space
        .kubectl(&["rollout", "status", "deployment/game", "--timeout=2m"])
        .unwrap();
    let pods = space.pods_of("game", 2).unwrap();
    assert_ne!(pods[0].node.name, pods[1].node.name);
    space.until_programmed("game", 2).unwrap();
    for pod in &pods {
        let counts = deliver_to(installed, installed.client(), pod, pod.udp(), 100);
        assert_eq!(counts.with_mark("UDP", 42), 100, "{counts:?}");
    }
}
