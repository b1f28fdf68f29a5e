//! More than there is room for.

use super::{GAME, fixture, programmed, told};
use crate::fixture::{at, only_mark};

/// Ports of which each is an interval of its own, and so is what lies before it: with one more, there are more intervals
/// than a class has room for.
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
fn policies_that_are_too_much_together_the_later_is_refused_whole() {
    let (fixture, pod) = fixture();
    let many = many_ports();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    fixture.policy_with("many", &format!("{GAME}\npriority: 900"), &many);
    let agent = fixture.start(&["server"]);
    let words = [
        "MAX_PORT_INTERVALS is 1024",
        "between the bounds of all port ranges",
        "games/server",
    ];
    told(&agent, "XdpPolicy games/many", "MAX_PORT_INTERVALS", &words);
    programmed(&fixture, &pod, 42);
    only_mark(&fixture.deliver(&pod, at(pod.v4(), 2 * PORTS.start), 20), 0, 20);

    fixture.manifests.remove("policy-players.yaml").unwrap();
    agent.wait_for("there is room", |status| {
        status
            .problem("XdpPolicy games/many", "MAX_PORT_INTERVALS")
            .is_none()
            && status.ready("server")
    });
    for port in [PORTS.start, PORTS.end - 1] {
        only_mark(&fixture.deliver(&pod, at(pod.v4(), 2 * port), 20), 13, 20);
    }
}
