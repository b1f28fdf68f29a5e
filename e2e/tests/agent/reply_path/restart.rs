//! Open connections and datagrams continue when the agent is killed, stopped, upgraded or uninstalled.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use xdp_e2e::Agent;
use xdp_lab::{EchoConnection, Style, UdpClient, wait_until};

use super::{
    place::{Place, open, request, udp},
    side::Side,
};
use crate::fixture::PATIENCE;

const PLACES: [(Style, bool); 2] = [(Style::Ptp, true), (Style::Bridge, false)];
/// Bytes per connection and iteration.
const SOME: usize = 40_000;

/// A thread that uses connections and datagrams of all kinds without pause.
struct Talk {
    stop: AtomicBool,
    iterations: AtomicU64,
}

/// The flows of one family.
struct Held {
    side: Side,
    connections: Vec<EchoConnection>,
    datagrams: [UdpClient; 2],
}

impl Held {
    fn new(place: &Place, side: &Side) -> Self {
        let [kept, translated] = side.node_ports();
        let from_outside = [side.web(), side.web(), kept, translated];
        let connections = from_outside.map(|to| place.connect(side.any(0), to));
        let own = [side.outside(), side.cluster_ip()].map(|to| open(&place.pod.ns, side.any(0), to));
        Self {
            side: *side,
            connections: connections.into_iter().chain(own).collect(),
            datagrams: [&place.fixture.client, &place.pod.ns].map(|from| udp(from, side.any(0))),
        }
    }

    /// Uses all flows once, and panics if one fails.
    fn exercise(&mut self) {
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let result = connection.echo(SOME);
            assert!(result.is_ok(), "connection {index}: {result:?}");
        }
        let [from_outside, own] = &mut self.datagrams;
        request(from_outside, self.side.web(), 100, 300);
        request(own, self.side.cluster_ip(), 100, 300);
    }
}

impl Talk {
    /// Waits until this many more iterations are done.
    fn more(&self, iterations: u64) {
        let goal = self.iterations.load(Ordering::Relaxed) + iterations;
        let done = || self.iterations.load(Ordering::Relaxed) >= goal;
        wait_until("the flows continue", PATIENCE, done).unwrap();
    }
}

/// Runs `work` while all flows are in use, and checks that none of them fails.
fn flows_continue(place: &Place, work: impl FnOnce(&Talk)) {
    let talk = Talk {
        stop: AtomicBool::new(false),
        iterations: AtomicU64::new(0),
    };
    let did = place.stack_did(|| {
        thread::scope(|scope| {
            let mut held = place.sides.each_ref().map(|side| Held::new(place, side));
            let talk = &talk;
            scope.spawn(move || {
                while !talk.stop.load(Ordering::Relaxed) {
                    held.iter_mut().for_each(Held::exercise);
                    talk.iterations.fetch_add(1, Ordering::Relaxed);
                }
            });
            // Stops the other thread also after a panic.
            let stop = Stop(talk);
            talk.more(2);
            work(talk);
            drop(stop);
        });
    });
    assert_eq!(did.invalid, 0);
}

struct Stop<'a>(&'a Talk);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

fn comes_back(agent: &mut Agent<'_>, talk: &Talk) {
    talk.more(3);
    agent.start().unwrap();
    agent.wait_for("it runs again", |status| {
        status.running() && status.ready("server")
    });
    talk.more(3);
}

#[test]
fn open_flows_continue_when_the_agent_is_killed_and_stopped_and_restarted() {
    for (style, masquerade) in PLACES {
        let place = Place::new(style, masquerade);
        let mut agent = place.start();
        flows_continue(&place, |talk| {
            agent.kill().unwrap();
            comes_back(&mut agent, talk);
            agent.stop().unwrap();
            comes_back(&mut agent, talk);
        });
        let side = place.sides[0];
        let mut connection = place.connect(side.any(0), side.web());
        place.is_fast_except_late_packets("after it came back", || connection.echo(SOME).unwrap());
    }
}

#[test]
fn open_flows_continue_when_an_agent_with_another_layout_takes_over() {
    for (style, masquerade) in PLACES {
        let place = Place::new(style, masquerade);
        let mut agent = place.start();
        let mut older = None;
        flows_continue(&place, |talk| {
            agent.stop().unwrap();
            older = Some(place.fixture.make_pins_older());
            comes_back(&mut agent, talk);
        });
        assert!(!older.unwrap().exists());
        let side = place.sides[0];
        let mut connection = place.connect(side.any(0), side.web());
        place.is_fast_except_late_packets("after it took over", || connection.echo(SOME).unwrap());
    }
}

#[test]
fn open_flows_continue_when_the_agent_is_uninstalled() {
    for (style, masquerade) in PLACES {
        let place = Place::new(style, masquerade);
        let mut agent = place.start();
        flows_continue(&place, |talk| {
            agent.stop().unwrap();
            agent.uninstall().unwrap();
            talk.more(5);
        });
        assert!(!place.fixture.lab.pin_dir().exists());
    }
}
