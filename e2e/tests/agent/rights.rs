//! What the administrator allows policies to do: bits of marks, and redirects by namespace.

mod marks;
mod redirects;

use xdp_e2e::Agent;

use crate::fixture::Fixture;

/// The deliveries, as a field of a policy's spec.
const DELIVERIES: [&str; 2] = ["Redirect", "Peer"];

/// Writes a policy for the pods with label `app: game`, with a delivery.
fn policy(fixture: &Fixture, delivery: &str, rules: &[&str]) {
    let spec = format!("podSelector: {{matchLabels: {{app: game}}}}\ndelivery: {delivery}");
    fixture.policy_with("players", &spec, rules);
}

/// Starts an agent with these arguments, and waits until the pod `server` is programmed.
fn start<'a>(fixture: &'a Fixture, arguments: &[&str]) -> Agent<'a> {
    let mut agent = Agent::new(&fixture.lab, &fixture.manifests).arguments(arguments);
    agent.start().unwrap();
    wait(&agent);
    agent
}

/// Waits until the NIC is attached, and the pod `server` is programmed by a running agent.
fn wait(agent: &Agent<'_>) {
    agent.wait_for("the NIC is attached and the pod is programmed", |status| {
        status.running() && status.nic_mode("nic0") == Some("Native") && status.programmed("server")
    });
}
