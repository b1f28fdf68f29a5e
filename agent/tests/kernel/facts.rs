//! Pairs, their addresses, and events when they change.

use std::{
    net::IpAddr,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use xdp_agent::{
    node::{
        ethtool::set_gro,
        netlink::{
            Interests, Monitor, {self},
        },
    },
    testing::{HostAndPod, eventually},
};

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_ptp_pod_is_found_with_its_addresses_from_outside() {
    let fixture = HostAndPod::with_pod_down();
    fixture.pod.ip("link set eth0 mtu 1400 address 02:00:00:00:00:17");
    fixture.pod.ip("link set eth0 up");
    fixture.pod.ip("addr add 10.1.0.5 peer 169.254.1.1 dev eth0");
    fixture.pod.ip("addr add 10.1.0.6/32 dev eth0");
    fixture.pod.ip("addr add 2001:db8::5/128 dev eth0 nodad");
    fixture.pod.ip("addr add fe80::5/64 dev eth0 nodad");
    fixture.host.ip("route add 10.1.0.5/32 dev host0");
    let pair = fixture.pair();
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
fn a_pod_on_a_bridge_is_found_and_the_bridge_is_no_pair() {
    let fixture = HostAndPod::new();
    fixture.host.ip("link add br0 type bridge");
    fixture.host.ip("link set host0 master br0");
    fixture.host.ip("link set br0 up");
    fixture.pod.ip("addr add 10.2.0.7/24 dev eth0");
    let pair = fixture.pair();
    assert_eq!(pair.host.name, "host0");
    assert_eq!(pair.addresses, addresses(&["10.2.0.7"]));
}

#[test]
fn several_interfaces_of_one_pod_are_several_pairs_each_with_its_own_addresses() {
    let fixture = HostAndPod::new();
    fixture.host.ip(&format!(
        "link add host1 type veth peer name eth1 netns {}",
        fixture.pod.name
    ));
    fixture.pod.ip("addr add 10.1.0.5/32 dev eth0");
    fixture.pod.ip("addr add 10.1.1.5/32 dev eth1");
    let found: Vec<_> = fixture
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
    let fixture = HostAndPod::new();
    let other = HostAndPod::new();
    fixture.host.ip("link add a0 type veth peer name a1");
    fixture.pod.ip(&format!(
        "link add b0 type veth peer name b1 netns {}",
        other.pod.name
    ));
    assert_eq!(fixture.pair().host.name, "host0");
}

#[test]
fn a_macvlan_in_the_pod_is_no_pair() {
    let fixture = HostAndPod::new();
    fixture.host.ip("link add mv0 link host0 type macvlan");
    fixture
        .host
        .ip(&format!("link set mv0 netns {}", fixture.pod.name));
    assert_eq!(fixture.pair().pod.name, "eth0");
}

#[test]
fn a_deleted_pod_disappears_and_the_others_stay() {
    let fixture = HostAndPod::new();
    let dying = xdp_agent::testing::TestNamespace::new();
    fixture.host.ip(&format!(
        "link add host1 type veth peer name eth0 netns {}",
        dying.name
    ));
    assert_eq!(fixture.pairs().len(), 2);
    dying.unname();
    eventually("one pair left", || fixture.pairs().len() == 1);
    assert_eq!(fixture.pair().host.name, "host0");
}

#[test]
fn links_name_their_master() {
    let fixture = HostAndPod::new();
    fixture.host.ip("link add br0 type bridge");
    fixture.host.ip("link set host0 master br0");
    let links = fixture.host.run(|| netlink::host_links().unwrap());
    let find = |name: &str| links.iter().find(|link| link.name == name).unwrap();
    assert_eq!(find("host0").master, Some(find("br0").ifindex));
    assert_eq!(
        (find("host0").kind.as_str(), find("br0").kind.as_str()),
        ("veth", "bridge")
    );
    assert!(find("lo").loopback && !find("br0").loopback);
    assert!(find("host0").up && !find("br0").up);
}

/// Starts a monitor in the host's namespace, and waits until it is quiet. Returns it with its reports.
fn monitor(fixture: &HostAndPod) -> (Monitor, Receiver<()>) {
    let (sender, reports) = channel();
    let monitor = fixture
        .host
        .run(|| Monitor::start(Interests::default(), move || sender.send(()).unwrap()).unwrap());
    count_until_quiet(&reports, CARRIER);
    (monitor, reports)
}

/// The kernel reports a carrier up to a second late (`net/core/link_watch.c`).
const CARRIER: Duration = Duration::from_millis(1200);
/// Much longer than the pause that ends a burst.
const QUIET: Duration = Duration::from_millis(300);
/// Limit for one report, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// A little shorter than the pause that ends a burst.
const PAUSE: Duration = Duration::from_millis(8);

/// Counts the reports until none comes for a while.
fn count_until_quiet(reports: &Receiver<()>, quiet: Duration) -> usize {
    std::iter::from_fn(|| reports.recv_timeout(quiet).ok()).count()
}

#[test]
fn changes_in_the_pod_and_on_the_host_are_reported() {
    let fixture = HostAndPod::new();
    let (_monitor, reports) = monitor(&fixture);
    let changes: [(&str, &dyn Fn()); 6] = [
        ("v4 address", &|| fixture.pod.ip("addr add 10.1.0.5/32 dev eth0")),
        ("v6 address", &|| {
            fixture.pod.ip("addr add 2001:db8::5/128 dev eth0 nodad");
        }),
        ("address gone", &|| {
            fixture.pod.ip("addr del 10.1.0.5/32 dev eth0");
        }),
        ("host's link", &|| fixture.host.ip("link set host0 mtu 1400")),
        ("link down", &|| fixture.pod.ip("link set eth0 down")),
        ("pair gone", &|| fixture.host.ip("link del host0")),
    ];
    for (what, change) in changes {
        change();
        assert!(reports.recv_timeout(PATIENCE).is_ok(), "{what} was not reported");
        count_until_quiet(&reports, QUIET);
    }
}

#[test]
fn a_changed_feature_is_reported() {
    let fixture = HostAndPod::new();
    let (_monitor, reports) = monitor(&fixture);
    fixture.pod.run(|| set_gro("eth0", true).unwrap());
    assert!(reports.recv_timeout(PATIENCE).is_ok());
}

/// Makes changes in quick succession. Returns how often one took so long that the burst can have ended.
fn many_changes(count: u32) -> usize {
    let (mut last, mut pauses) = (Instant::now(), 0);
    for change in 0..count {
        let begin = Instant::now();
        set_gro("eth0", change % 2 == 0).unwrap();
        // From before the last change to after this one: the exact times of the events are unknown.
        pauses += usize::from(last.elapsed() > PAUSE);
        last = begin;
        thread::sleep(Duration::from_millis(1));
    }
    pauses
}

#[test]
fn a_burst_is_reported_in_a_few_reports_and_the_last_change_is_never_missed() {
    let fixture = HostAndPod::new();
    let (_monitor, reports) = monitor(&fixture);
    let started = Instant::now();
    let pauses = fixture.pod.run(|| many_changes(200));
    // A burst that does not end is reported every 100 ms.
    let most = 10 + 3 * pauses + started.elapsed().as_millis() as usize / 100;
    let first = usize::from(reports.recv_timeout(PATIENCE).is_ok());
    let count = first + count_until_quiet(&reports, QUIET);
    assert!(
        (1..=most).contains(&count),
        "{count} reports for 200 changes with {pauses} pauses, {most} at most"
    );
    fixture.pod.ip("addr add 10.1.0.5/32 dev eth0");
    assert!(reports.recv_timeout(PATIENCE).is_ok());
}

#[test]
fn a_dropped_monitor_is_silent() {
    let fixture = HostAndPod::new();
    let (monitor, reports) = monitor(&fixture);
    drop(monitor);
    // Late reports of a carrier.
    while reports.try_recv().is_ok() {}
    fixture.pod.ip("addr add 10.1.0.5/32 dev eth0");
    assert!(reports.recv().is_err(), "the callback is gone with the monitor");
}
