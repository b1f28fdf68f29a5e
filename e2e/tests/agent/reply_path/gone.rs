//! Pods are deleted, and other pods get their addresses.

use xdp_lab::{EchoServer, Style};

use super::place::{Place, open};
use crate::fixture::spec;

const PORT: u16 = 40_003;
const SOME: usize = 50_000;

/// The next pod with the address serves the same client from the same port.
fn the_next_pod_is_served(app: &str, fast: bool) {
    let place = Place::new(Style::Ptp, true);
    place.take_all();
    let sides = place.sides;
    let Place {
        web, pod, fixture, ..
    } = place;
    let agent = fixture.start(&["server"]);
    for side in &sides {
        let mut connection = open(&fixture.client, side.any(PORT), side.web());
        connection.echo(SOME).unwrap();
        connection.reset().unwrap();
    }
    drop(web);
    fixture.manifests.remove("server.yaml").unwrap();
    pod.remove().unwrap();
    let next = fixture.lab.pod(&spec("next", Style::Ptp, 5)).unwrap();
    fixture.manifests.write_pod("next", app, &next).unwrap();
    let _web = sides.map(|side| EchoServer::start(&next.ns, side.web()).unwrap());
    agent.wait_for("the old pod is gone", |status| {
        status.pod("server").is_none() && status.ready("next") == fast
    });
    for side in &sides {
        let mut connection = open(&fixture.client, side.any(PORT), side.web());
        let before = fixture.lab.node().forwarded().unwrap();
        connection.echo(SOME).unwrap();
        let forwarded = fixture.lab.node().forwarded().unwrap() - before;
        assert_eq!(forwarded == 0, fast, "{forwarded} by the stack");
    }
}

#[test]
fn a_pod_without_a_policy_that_reuses_an_address_is_served_by_the_stack() {
    the_next_pod_is_served("other", false);
}

#[test]
fn a_pod_with_a_policy_that_reuses_an_address_is_served_by_the_fast_path() {
    the_next_pod_is_served("game", true);
}
