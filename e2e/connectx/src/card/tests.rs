use std::{
    fs::File,
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::sys::{
    memfd::{MFdFlags, memfd_create},
    socket::{AddressFamily, SockFlag, SockType, socketpair},
};

use crate::card::{Card, counters::CardCounters, profile::Profile, wire::Wire};

/// A socket's path that is removed with the test.
struct Socket(PathBuf);

impl Socket {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("xdp-connectx-{}-{name}", std::process::id())))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn await_true(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
}

#[test]
fn a_card_ends_with_its_client_and_takes_another() {
    let socket = Socket::new("ends");
    let card = Card::insert(&socket.0, Profile::default()).unwrap();
    assert!(!card.ended());
    let client = UnixStream::connect(&socket.0).unwrap();
    drop(client);
    await_true(|| card.ended());
    let client = UnixStream::connect(&socket.0).unwrap();
    await_true(|| !card.ended());
    drop(client);
    await_true(|| card.ended());
    assert_eq!(card.findings(), []);
}

#[test]
fn a_dropped_card_leaves_no_socket() {
    let socket = Socket::new("dropped");
    let card = Card::insert(&socket.0, Profile::default()).unwrap();
    let client = UnixStream::connect(&socket.0).unwrap();
    drop(card);
    assert!(!socket.0.exists());
    drop(client);
}

#[test]
fn frames_wait_for_no_driver() {
    let socket = Socket::new("frames");
    let card = Card::insert(&socket.0, Profile::default()).unwrap();
    card.send(vec![0; 60]);
    assert_eq!(card.receive(Duration::ZERO), None);
    assert_eq!(
        card.counters(),
        CardCounters {
            link_down: 1,
            ..CardCounters::default()
        }
    );
}

#[test]
fn frames_of_a_tap_arrive_at_the_card() {
    let socket = Socket::new("tap");
    let card = Card::insert(&socket.0, Profile::default()).unwrap();
    let (tap, other) = socketpair(
        AddressFamily::Unix,
        SockType::Datagram,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .unwrap();
    card.connect_tap(File::from(tap)).unwrap();
    for _ in 0..3 {
        nix::unistd::write(&other, &[0; 60]).unwrap();
    }
    await_true(|| card.counters().link_down == 3);
}

#[test]
fn a_tap_at_its_end_is_an_error() {
    let empty = memfd_create(c"empty", MFdFlags::MFD_CLOEXEC).unwrap();
    assert!(Wire::Tap(File::from(empty)).receive().is_err());
}

#[test]
fn two_cards_can_be_dropped_in_any_order() {
    let (one, other) = (Socket::new("one"), Socket::new("other"));
    let first = Card::insert(&one.0, Profile::default()).unwrap();
    let second = Card::insert(&other.0, Profile::default()).unwrap();
    Card::cable(&first, &second);
    drop(first);
    assert_eq!(second.counters(), CardCounters::default());
}
