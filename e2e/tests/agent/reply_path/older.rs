//! What was there before the policy, and what is there after it.

use std::net::SocketAddr;

use xdp_lab::{EchoConnection, Style, UdpClient};

use super::{
    place::{ANY, Place, asked, open, udp},
    side::Side,
};

const SOME: usize = 200_000;
/// Enough that every window is used many times over.
const MUCH: usize = 20 << 20;
/// Both styles, and masquerade on and off with each.
const PLACES: [(Style, bool); 2] = [(Style::Ptp, true), (Style::Bridge, false)];

/// Of one family: two connections to the pod, of which either side says something first, one of the pod's own, and
/// datagrams.
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
        held.go_on(place, SOME);
        held
    }

    fn go_on(&mut self, place: &Place, bytes: usize) {
        place.pod_says(&mut self.pod_first, self.side.client, bytes);
        self.client_first.round_trip(bytes).unwrap();
        self.pod_first.round_trip(bytes).unwrap();
        self.own.round_trip(bytes).unwrap();
        self.ask(self.side.web());
    }

    fn ask(&mut self, to: SocketAddr) {
        for _ in 0..3 {
            asked(&mut self.datagrams, to, 100, 300);
        }
    }
}

#[test]
fn what_was_open_before_the_policy_goes_on_and_what_is_opened_later_is_fast() {
    for (style, masquerade) in PLACES {
        let place = Place::new(style, masquerade);
        let agent = place.fixture.start(&[]);
        let did = place.stack_did(|| {
            let mut held = place.sides.map(|side| Held::new(&place, side));
            place.take_all();
            agent.wait_for("the policy is in force", |status| status.ready("server"));
            for held in &mut held {
                held.go_on(&place, SOME);
                let mut new = place.connect(held.side.any(0), held.side.web());
                place.is_fast_beside_others("opened under the policy", || new.round_trip(SOME).unwrap());
                held.go_on(&place, SOME);
            }
        });
        assert_eq!(did.invalid, 0);
    }
}

#[test]
fn what_is_open_when_the_policy_goes_goes_on() {
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
                held[0].go_on(&place, MUCH);
                held[1].go_on(&place, SOME);
            }
            // What comes now is the stack's.
            let side = place.sides[0];
            let mut new = place.connect(side.any(0), side.web());
            assert!(place.stack_did(|| new.round_trip(SOME).unwrap()).forwarded > 0);
        });
        assert_eq!(did.invalid, 0);
    }
}

#[test]
fn of_two_policies_one_goes_and_nothing_changes_for_what_the_other_takes() {
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
        place.is_fast_beside_others("by the other policy", || {
            held.client_first.round_trip(SOME).unwrap()
        });
        held.go_on(&place, SOME);
    }
}

/// Tables whose entries have gone decide nothing: who was dropped stays dropped.
#[test]
fn a_rule_that_drops_wins_over_flows_that_are_known() {
    let place = Place::new(Style::Ptp, false);
    let agent = place.start();
    let side = place.sides[0];
    let mut held = place.connect(side.any(0), side.web());
    held.round_trip(SOME).unwrap();
    let drop = "{name: none, ports: [{protocol: TCP, port: 80}], action: Drop}";
    place.fixture.policy("all", &[drop]);
    agent.wait_for("the rule is in force", |status| {
        let rules = status.json()["rules"].as_array();
        let named = |rules: &Vec<serde_json::Value>| rules.iter().any(|rule| rule["rule"] == "none");
        status.programmed("server") && rules.is_some_and(named)
    });
    held.set_timeout(super::place::SOON).unwrap();
    held.round_trip(SOME).unwrap_err();
    assert!(agent.look().packets("none", "dropped") > 0);
}
