//! The agent ends in every way, and comes back, or does not: what is held open notices nothing.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use xdp_core::tables::ABI_VERSION;
use xdp_e2e::Agent;
use xdp_lab::{EchoConnection, Style, UdpClient, wait_until};

use super::{
    place::{Place, asked, open, udp},
    side::Side,
};
use crate::fixture::PATIENCE;

const PLACES: [(Style, bool); 2] = [(Style::Ptp, true), (Style::Bridge, false)];
/// Bytes of one round.
const SOME: usize = 40_000;

/// Connections and datagrams of all kinds that go on all the time.
struct Talk {
    stop: AtomicBool,
    rounds: AtomicU64,
}

/// Of one family.
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

    /// Whatever does not work panics.
    fn round(&mut self) {
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let talked = connection.round_trip(SOME);
            assert!(talked.is_ok(), "connection {index}: {talked:?}");
        }
        let [from_outside, own] = &mut self.datagrams;
        asked(from_outside, self.side.web(), 100, 300);
        asked(own, self.side.cluster_ip(), 100, 300);
    }
}

impl Talk {
    /// Waits until so many more rounds are done.
    fn more(&self, rounds: u64) {
        let goal = self.rounds.load(Ordering::Relaxed) + rounds;
        let done = || self.rounds.load(Ordering::Relaxed) >= goal;
        wait_until("they go on talking", PATIENCE, done).unwrap();
    }
}

/// Does something while all are talking; none of them notices.
fn nobody_notices(place: &Place, work: impl FnOnce(&Talk)) {
    let talk = Talk {
        stop: AtomicBool::new(false),
        rounds: AtomicU64::new(0),
    };
    let did = place.stack_did(|| {
        thread::scope(|scope| {
            let mut held = place.sides.each_ref().map(|side| Held::new(place, side));
            let talk = &talk;
            scope.spawn(move || {
                while !talk.stop.load(Ordering::Relaxed) {
                    held.iter_mut().for_each(Held::round);
                    talk.rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
            // A panic would leave the other thread talking.
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
    agent.wait_for("it is back", |status| status.running() && status.ready("server"));
    talk.more(3);
}

#[test]
fn nobody_notices_that_the_agent_is_killed_and_stopped_and_comes_back() {
    for (style, masquerade) in PLACES {
        let place = Place::new(style, masquerade);
        let mut agent = place.start();
        nobody_notices(&place, |talk| {
            agent.kill().unwrap();
            comes_back(&mut agent, talk);
            agent.stop().unwrap();
            comes_back(&mut agent, talk);
        });
        let side = place.sides[0];
        let mut connection = place.connect(side.any(0), side.web());
        place.is_fast_beside_others("after it came back", || connection.round_trip(SOME).unwrap());
    }
}

/// Its place says which layout the tables have.
#[test]
fn nobody_notices_that_an_agent_with_another_layout_takes_over() {
    for (style, masquerade) in PLACES {
        let place = Place::new(style, masquerade);
        let mut agent = place.start();
        let older = place
            .fixture
            .lab
            .pin_dir()
            .join(format!("abi-{}", ABI_VERSION - 1));
        nobody_notices(&place, |talk| {
            agent.stop().unwrap();
            std::fs::rename(place.fixture.pins(), &older).unwrap();
            comes_back(&mut agent, talk);
        });
        assert!(!older.exists());
        let side = place.sides[0];
        let mut connection = place.connect(side.any(0), side.web());
        place.is_fast_beside_others("after it took over", || connection.round_trip(SOME).unwrap());
    }
}

#[test]
fn nobody_notices_that_it_is_uninstalled() {
    for (style, masquerade) in PLACES {
        let place = Place::new(style, masquerade);
        let mut agent = place.start();
        nobody_notices(&place, |talk| {
            agent.stop().unwrap();
            agent.uninstall().unwrap();
            talk.more(5);
        });
        assert!(!place.fixture.lab.pin_dir().exists());
    }
}
