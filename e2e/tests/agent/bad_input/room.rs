//! Policies that exceed the capacity of the tables.

use super::{GAME, fixture, is_reported, programmed};
use crate::fixture::{at, only_mark};

/// Each port is an interval of its own, and so are the ports before it: one more port exceeds the intervals
/// of a class.
const PORTS: std::ops::Range<u16> = 5_000..5_511;

fn many_ports() -> Vec<String> {
    let ports: Vec<String> = PORTS
        .map(|number| format!("{{protocol: UDP, port: {}}}", 2 * number))
        .collect();
    let rule = |(number, ports): (usize, &[String])| {
        format!(
            "{{name: m{number}, ports: [{}], action: Redirect, mark: 13}}",
            ports.join(", ")
        )
    };
    ports.chunks(60).enumerate().map(rule).collect()
}

#[test]
fn of_policies_that_exceed_the_capacity_together_the_later_is_refused_completely() {
    let (fixture, pod) = fixture();
    let many = many_ports();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    fixture.policy_with("swarm", &format!("{GAME}\npriority: 0"), &many);
    let agent = fixture.start(&["server"]);
    let words = [
        "MAX_PORT_INTERVALS is 1024",
        "between the bounds of all port ranges",
        "games/server",
    ];
    is_reported(&agent, "XdpPolicy games/swarm", "MAX_PORT_INTERVALS", &words);
    programmed(&fixture, &pod, 42);
    only_mark(&fixture.deliver(&pod, at(pod.v4(), 2 * PORTS.start), 20), 0, 20);

    fixture.manifests.remove("policy-players.yaml").unwrap();
    agent.wait_for("the policy fits", |status| {
        status
            .problem("XdpPolicy games/swarm", "MAX_PORT_INTERVALS")
            .is_none()
            && status.ready("server")
    });
    for port in [PORTS.start, PORTS.end - 1] {
        only_mark(&fixture.deliver(&pod, at(pod.v4(), 2 * port), 20), 13, 20);
    }
}
