//! Pairs, their addresses, and being told when they change.

use std::{
    net::IpAddr,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use xdp_agent::node::{
    ethtool::set_gro,
    netlink::{
        Monitor, {self},
    },
};

use crate::world::{World, eventually};

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_ptp_pod_is_found_with_its_addresses_from_outside() {
    let world = World::with_pod_down();
    world.pod.ip("link set eth0 mtu 1400 address 02:00:00:00:00:17");
    world.pod.ip("link set eth0 up");
    world.pod.ip("addr add 10.1.0.5 peer 169.254.1.1 dev eth0");
    world.pod.ip("addr add 10.1.0.6/32 dev eth0");
    world.pod.ip("addr add 2001:db8::5/128 dev eth0 nodad");
    world.pod.ip("addr add fe80::5/64 dev eth0 nodad");
    world.host.ip("route add 10.1.0.5/32 dev host0");
    let pair = world.pair();
    assert_eq!(
        (pair.host.name.as_str(), pair.pod.name.as_str()),
        ("host0", "eth0")
    );
    assert_eq!(
        (pair.host.kind.as_str(), pair.pod.kind.as_str()),
        ("veth", "veth")
    );
    assert_eq!((pair.host.mtu, pair.pod.mtu), (1500, 1400));
    assert_eq!((pair.host.up, pair.pod.up), (true, true));
    assert_eq!(pair.pod.mac, [2, 0, 0, 0, 0, 0x17]);
    assert_eq!(
        pair.addresses,
        addresses(&["10.1.0.5", "10.1.0.6", "2001:db8::5", "fe80::5"])
    );
}

#[test]
fn a_bridge_pod_is_found_and_the_bridge_is_no_pair() {
    let world = World::new();
    world.host.ip("link add br0 type bridge");
    world.host.ip("link set host0 master br0");
    world.host.ip("link set br0 up");
    world.pod.ip("addr add 10.2.0.7/24 dev eth0");
    let pair = world.pair();
    assert_eq!(pair.host.name, "host0");
    assert_eq!(pair.addresses, addresses(&["10.2.0.7"]));
}

#[test]
fn several_interfaces_of_one_pod_are_several_pairs_each_with_its_own_addresses() {
    let world = World::new();
    world.host.ip(&format!(
        "link add host1 type veth peer name eth1 netns {}",
        world.pod.name
    ));
    world.pod.ip("addr add 10.1.0.5/32 dev eth0");
    world.pod.ip("addr add 10.1.1.5/32 dev eth1");
    let found: Vec<_> = world
        .pairs()
        .into_iter()
        .map(|pair| (pair.host.name, pair.addresses[0]))
        .collect();
    let expected = [("host0", "10.1.0.5"), ("host1", "10.1.1.5")];
    assert_eq!(
        found,
        expected.map(|(name, address)| (name.to_owned(), address.parse().unwrap()))
    );
}

#[test]
fn a_pair_inside_the_host_and_one_between_two_pods_are_left_out() {
    let world = World::new();
    let other = World::new();
    world.host.ip("link add a0 type veth peer name a1");
    world.pod.ip(&format!(
        "link add b0 type veth peer name b1 netns {}",
        other.pod.name
    ));
    assert_eq!(world.pair().host.name, "host0");
}

#[test]
fn a_macvlan_in_the_pod_is_no_pair() {
    let world = World::new();
    world.host.ip("link add mv0 link host0 type macvlan");
    world.host.ip(&format!("link set mv0 netns {}", world.pod.name));
    assert_eq!(world.pair().pod.name, "eth0");
}

#[test]
fn a_pod_that_dies_is_gone_and_the_others_stay() {
    let world = World::new();
    let dying = crate::world::Namespace::new();
    world.host.ip(&format!(
        "link add host1 type veth peer name eth0 netns {}",
        dying.name
    ));
    assert_eq!(world.pairs().len(), 2);
    dying.unname();
    eventually("one pair left", || world.pairs().len() == 1);
    assert_eq!(world.pair().host.name, "host0");
}

#[test]
fn links_say_what_they_are_part_of() {
    let world = World::new();
    world.host.ip("link add br0 type bridge");
    world.host.ip("link set host0 master br0");
    let links = world.host.run(|| netlink::host_links().unwrap());
    let find = |name: &str| links.iter().find(|link| link.name == name).unwrap();
    assert_eq!(find("host0").master, Some(find("br0").ifindex));
    assert_eq!(
        (find("host0").kind.as_str(), find("br0").kind.as_str()),
        ("veth", "bridge")
    );
    assert!(find("lo").loopback && !find("br0").loopback);
    assert!(find("host0").up && !find("br0").up);
}

/// A monitor in the host's namespace that has nothing to report, and its reports.
fn monitor(world: &World) -> (Monitor, Receiver<()>) {
    let (sender, reports) = channel();
    let monitor = world
        .host
        .run(|| Monitor::start(move || sender.send(()).unwrap()).unwrap());
    settle(&reports, CARRIER);
    (monitor, reports)
}

/// Link watch reports a carrier up to a second late (`net/core/link_watch.c`).
const CARRIER: Duration = Duration::from_millis(1200);
/// Long after the end of any burst.
const QUIET: Duration = Duration::from_millis(300);
/// For one report, on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(30);
/// A little less than what ends a burst.
const PAUSE: Duration = Duration::from_millis(8);

/// Count the reports until nothing comes for a while.
fn settle(reports: &Receiver<()>, quiet: Duration) -> usize {
    std::iter::from_fn(|| reports.recv_timeout(quiet).ok()).count()
}

#[test]
fn changes_in_the_pod_and_on_the_host_are_reported() {
    let world = World::new();
    let (_monitor, reports) = monitor(&world);
    let changes: [(&str, &dyn Fn()); 6] = [
        ("v4 address", &|| world.pod.ip("addr add 10.1.0.5/32 dev eth0")),
        ("v6 address", &|| {
            world.pod.ip("addr add 2001:db8::5/128 dev eth0 nodad");
        }),
        ("address gone", &|| world.pod.ip("addr del 10.1.0.5/32 dev eth0")),
        ("host's link", &|| world.host.ip("link set host0 mtu 1400")),
        ("link down", &|| world.pod.ip("link set eth0 down")),
        ("pair gone", &|| world.host.ip("link del host0")),
    ];
    for (what, change) in changes {
        change();
        assert!(reports.recv_timeout(PATIENCE).is_ok(), "{what} was not reported");
        settle(&reports, QUIET);
    }
}

#[test]
fn a_feature_that_comes_with_gro_is_reported() {
    let world = World::new();
    let (_monitor, reports) = monitor(&world);
    world.pod.run(|| set_gro("eth0", true).unwrap());
    assert!(reports.recv_timeout(PATIENCE).is_ok());
}

/// Change something again and again; returns how often that took so long that the burst may have been over.
fn many_changes(count: u32) -> usize {
    let (mut last, mut pauses) = (Instant::now(), 0);
    for change in 0..count {
        let begin = Instant::now();
        set_gro("eth0", change % 2 == 0).unwrap();
        // From before the last change to after this one: when exactly they were announced is not known.
        pauses += usize::from(last.elapsed() > PAUSE);
        last = begin;
        thread::sleep(Duration::from_millis(1));
    }
    pauses
}

#[test]
fn a_burst_is_reported_in_a_few_reports_and_the_last_change_is_never_missed() {
    let world = World::new();
    let (_monitor, reports) = monitor(&world);
    let started = Instant::now();
    let pauses = world.pod.run(|| many_changes(200));
    // The last report of an endless burst comes after 100 ms.
    let most = 10 + 3 * pauses + started.elapsed().as_millis() as usize / 100;
    let first = usize::from(reports.recv_timeout(PATIENCE).is_ok());
    let count = first + settle(&reports, QUIET);
    assert!(
        (1..=most).contains(&count),
        "{count} reports for 200 changes with {pauses} pauses, {most} at most"
    );
    world.pod.ip("addr add 10.1.0.5/32 dev eth0");
    assert!(reports.recv_timeout(PATIENCE).is_ok());
}

#[test]
fn a_dropped_monitor_is_silent() {
    let world = World::new();
    let (monitor, reports) = monitor(&world);
    drop(monitor);
    // Of a carrier that was reported even later.
    while reports.try_recv().is_ok() {}
    world.pod.ip("addr add 10.1.0.5/32 dev eth0");
    assert!(reports.recv().is_err(), "the callback is gone with the monitor");
}
