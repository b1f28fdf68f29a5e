//! Ports by the name that each pod's containers give them.

use xdp_lab::{HttpServer, http_get};

use crate::fixture::{Fixture, PATIENCE, at, expect_only, only_mark};

const GAME: &str = "{name: game, ports: [{protocol: UDP, port: game}], action: Redirect, mark: 42}";

fn named(name: &str, protocol: &str, number: u16) -> String {
    format!("{{name: {name}, protocol: {protocol}, containerPort: {number}}}")
}

#[test]
fn each_pod_of_a_policy_has_its_own_number_for_a_name() {
    let fixture = Fixture::new();
    let ports = [7001, 7002].map(|number| format!("[{}]", named("game", "UDP", number)));
    let first = fixture.pod_with_ports("first", "game", 5, &ports[0]);
    let second = fixture.pod_with_ports("second", "game", 6, &ports[1]);
    let unnamed = fixture.pod_with_ports(
        "unnamed",
        "game",
        7,
        &format!("[{}]", named("other", "UDP", 7001)),
    );
    fixture.policy("players", &[GAME]);
    let agent = fixture.start(&["first", "second", "unnamed"]);
    for (pod, port, mark) in [
        (&first, 7001, 42),
        (&first, 7002, 0),
        (&second, 7001, 0),
        (&second, 7002, 42),
        (&unnamed, 7001, 0),
    ] {
        for ip in pod.addresses() {
            only_mark(&fixture.deliver(pod, at(ip, port), 20), mark, 20);
        }
    }
    expect_only(&agent, "game", &[("redirected", 80), ("delivered", 80)]);
}

#[test]
fn a_name_belongs_to_a_protocol() {
    let fixture = Fixture::new();
    let ports = format!("[{}, {}]", named("web", "TCP", 80), named("web", "UDP", 443));
    let pod = fixture.pod_with_ports("server", "game", 5, &ports);
    fixture.policy(
        "players",
        &[
            "{name: tcp, ports: [{protocol: TCP, port: web}], action: Redirect, mark: 1}",
            "{name: udp, ports: [{protocol: UDP, port: web}], action: Redirect, mark: 2}",
        ],
    );
    let _agent = fixture.start(&["server"]);
    only_mark(&fixture.deliver(&pod, at(pod.v4(), 443), 20), 2, 20);
    only_mark(&fixture.deliver(&pod, at(pod.v4(), 80), 20), 0, 20);
    for (port, mark) in [(80, 1), (443, 0)] {
        let server = HttpServer::start(&pod.ns, at(pod.v6(), port)).unwrap();
        assert_eq!(
            http_get(&fixture.client, server.address(), PATIENCE)
                .unwrap()
                .mark,
            mark
        );
    }
}

#[test]
fn a_changed_port_number_of_a_pod_is_programmed() {
    let fixture = Fixture::new();
    let pod = fixture.pod_with_ports("server", "game", 5, &format!("[{}]", named("game", "UDP", 7001)));
    fixture.policy("players", &[GAME]);
    let agent = fixture.start(&["server"]);
    only_mark(&fixture.deliver(&pod, at(pod.v4(), 7001), 20), 42, 20);
    let generation = |status: &xdp_e2e::Status| status.pod("server").unwrap()["generation"].as_u64();
    let before = generation(&agent.look());
    fixture.set_ports(
        "server",
        "game",
        &pod,
        &format!("[{}]", named("game", "UDP", 7002)),
    );
    agent.wait_for("the new rules are programmed", |status| {
        generation(status) > before
    });
    only_mark(&fixture.deliver(&pod, at(pod.v4(), 7001), 20), 0, 20);
    only_mark(&fixture.deliver(&pod, at(pod.v4(), 7002), 20), 42, 20);
}
