//! Connections that are older than the policy, and connections that outlive it.

use std::net::SocketAddr;

use xdp_lab::{EchoConnection, Style, UdpClient};

use super::{
    place::{ANY, Place, open, request, udp},
    side::Side,
};

const SOME: usize = 200_000;
/// Many times the size of every window.
const MUCH: usize = 20 << 20;
/// Both styles, and masquerade on and off with each.
const PLACES: [(Style, bool); 2] = [(Style::Ptp, true), (Style::Bridge, false)];

/// Flows of one family: two connections to the pod, in which either side sends first, one that the pod opens,
/// and datagrams.
struct Held {
    side: Side,
    client_first: EchoConnection,
    pod_first: EchoConnection,
    own: EchoConnection,
    datagrams: UdpClient,
}

impl Held {
    fn new(place: &Place, side: Side) -> Self {
        let mut held = Self {
            side,
            client_first: place.connect(side.any(0), side.web()),
            pod_first: place.connect(side.any(0), side.web()),
            own: open(&place.pod.ns, side.any(0), side.cluster_ip()),
            datagrams: udp(&place.fixture.client, side.any(0)),
        };
        held.exercise(place, SOME);
        held
    }

    fn exercise(&mut self, place: &Place, bytes: usize) {
        place.pod_sends(&mut self.pod_first, self.side.client, bytes);
        self.client_first.echo(bytes).unwrap();
        self.pod_first.echo(bytes).unwrap();
        self.own.echo(bytes).unwrap();
        self.request(self.side.web());
    }

    fn request(&mut self, to: SocketAddr) {
        for _ in 0..3 {
            request(&mut self.datagrams, to, 100, 300);
        }
    }
}

#[test]
fn connections_older_than_the_policy_continue_and_later_ones_bypass_the_stack() {
    for (style, masquerade) in PLACES {
        let place = Place::new(style, masquerade);
        let agent = place.fixture.start(&[]);
        let did = place.stack_did(|| {
            let mut held = place.sides.map(|side| Held::new(&place, side));
            place.take_all();
            agent.wait_for("the policy is programmed", |status| status.ready("server"));
            for held in &mut held {
                held.exercise(&place, SOME);
                let mut new = place.connect(held.side.any(0), held.side.web());
                place.is_fast_except_late_packets("opened under the policy", || new.echo(SOME).unwrap());
                held.exercise(&place, SOME);
            }
        });
        assert_eq!(did.invalid, 0);
    }
}

#[test]
fn open_connections_continue_when_the_policy_is_removed() {
    for (style, masquerade) in PLACES {
        let place = Place::new(style, masquerade);
        let agent = place.start();
        let did = place.stack_did(|| {
            let mut held = place.sides.map(|side| Held::new(&place, side));
            place.fixture.manifests.remove("policy-all.yaml").unwrap();
            agent.wait_for("the policy is gone", |status| {
                status.draining("server") || status.pod("server").is_none()
            });
            for _ in 0..3 {
                held[0].exercise(&place, MUCH);
                held[1].exercise(&place, SOME);
            }
            // The stack handles new connections now.
            let side = place.sides[0];
            let mut new = place.connect(side.any(0), side.web());
            assert!(place.stack_did(|| new.echo(SOME).unwrap()).forwarded > 0);
        });
        assert_eq!(did.invalid, 0);
    }
}

#[test]
fn when_one_of_two_policies_is_removed_the_flows_of_the_other_stay_fast() {
    let place = Place::new(Style::Ptp, true);
    place.fixture.policy("second", &[ANY]);
    let agent = place.start();
    let mut held = place.sides.map(|side| Held::new(&place, side));
    place.fixture.manifests.remove("policy-all.yaml").unwrap();
    agent.wait_for("one policy is gone", |status| {
        let policies = status.json()["rules"].as_array().map_or(0, Vec::len);
        policies == 1 && status.ready("server")
    });
    for held in &mut held {
        place.is_fast_except_late_packets("by the other policy", || held.client_first.echo(SOME).unwrap());
        held.exercise(&place, SOME);
    }
}

/// A drop rule takes precedence over the flow tables.
#[test]
fn a_drop_rule_takes_precedence_over_tracked_flows() {
    let place = Place::new(Style::Ptp, false);
    let agent = place.start();
    let side = place.sides[0];
    let mut held = place.connect(side.any(0), side.web());
    held.echo(SOME).unwrap();
    let drop = "{name: none, ports: [{protocol: TCP, port: 80}], action: Drop}";
    place.fixture.policy("all", &[drop]);
    agent.wait_for("the rule is programmed", |status| {
        let rules = status.json()["rules"].as_array();
        let named = |rules: &Vec<serde_json::Value>| rules.iter().any(|rule| rule["rule"] == "none");
        status.programmed("server") && rules.is_some_and(named)
    });
    held.set_timeout(super::place::SOON).unwrap();
    held.echo(SOME).unwrap_err();
    assert!(agent.look().packets("none", "dropped") > 0);
}
