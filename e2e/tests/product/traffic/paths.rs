//! Several NICs, and packets of unusual size.

use xdp_lab::{NicSpec, Style, UdpReceiver, UdpSender};

use crate::world::{PATIENCE, PLAYERS, World, at, counts, expect_counts, only_mark};

#[test]
fn packets_of_two_nics_reach_the_same_pod() {
    let world = World::new();
    let second = world.lab.namespace("second").unwrap();
    let nic = world.lab.nic(NicSpec::new("nic1", &second)).unwrap();
    let pod = world.pod("server", "game", Style::Ptp, 5);
    world.policy("players", &[PLAYERS]);
    let agent = world.start(&["server"]);
    agent.wait_for("both NICs are attached", |status| {
        status.nic_mode("nic1") == Some("native")
    });

    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    for client in [&world.client, &second] {
        UdpSender::new(client, to).unwrap().send(300).unwrap();
    }
    let received = inbox.wait_for(600, PATIENCE).unwrap();
    only_mark(&received, 42, 600);
    assert_eq!(received.sources.get(&world.nic.client_v4), Some(&300));
    assert_eq!(received.sources.get(&nic.client_v4), Some(&300));
    expect_counts(&agent, "players", [600, 600, 0, 0, 0, 0]);
}

/// The first fragment carries the ports. The others pass by the stack, and the kernel joins them in the pod; the whole
/// takes the mark of its first fragment.
#[test]
fn a_fragmented_datagram_arrives_whole_though_a_rule_with_ports_takes_its_first_fragment_only() {
    let world = World::new();
    let pod = world.pod("server", "game", Style::Ptp, 5);
    world.policy("players", &[PLAYERS]);
    let agent = world.start(&["server"]);
    for ip in pod.addresses() {
        let to = at(ip, 7777);
        let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
        let mut sender = UdpSender::new(&world.client, to).unwrap().payload(4000);
        sender.send_paced(50, 1000).unwrap();
        let received = inbox.wait_for(50, PATIENCE).unwrap();
        assert_eq!(received.bytes, 50 * 4000);
        only_mark(&received, 42, 50);
    }
    expect_counts(&agent, "players", [100, 100, 0, 0, 0, 0]);
}

#[test]
fn a_rule_without_ports_takes_all_fragments() {
    let world = World::new();
    let pod = world.pod("server", "game", Style::Bridge, 5);
    world.policy("players", &["{name: all, action: Redirect, mark: 42}"]);
    let agent = world.start(&["server"]);
    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    let mut sender = UdpSender::new(&world.client, to).unwrap().payload(4000);
    sender.send_paced(50, 1000).unwrap();
    only_mark(&inbox.wait_for(50, PATIENCE).unwrap(), 42, 50);
    expect_counts(&agent, "all", [150, 150, 0, 0, 0, 0]);
}

#[test]
fn a_frame_longer_than_the_pods_mtu_goes_to_the_stack_which_tells_the_client() {
    let world = World::new();
    let pod = world.pod("server", "game", Style::Ptp, 5);
    pod.set_mtu(1400).unwrap();
    pod.set_host_mtu(1400).unwrap();
    world.policy("players", &["{name: all, action: Redirect, mark: 42}"]);
    let agent = world.start(&["server"]);
    for (nth, ip) in (1..).zip(pod.addresses()) {
        let to = at(ip, 7777);
        let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
        let mut sender = UdpSender::new(&world.client, to).unwrap().payload(1440);
        sender.send_one().unwrap();
        let status = agent.wait_for("it fell back", |status| status.packets("all", "fellBack") == nth);
        assert_eq!(status.json()["fallbacks"]["TooLong"], nth);
        // The client knows now, and sends fragments.
        xdp_lab::wait_until("a fragmented datagram arrives", PATIENCE, || {
            // An error is the stack's answer to the one before.
            let _ = sender.send_one();
            inbox.received().packets > 0
        })
        .unwrap();
        assert_eq!(inbox.received().marks.keys().collect::<Vec<_>>(), [&42]);
    }
    agent.wait_for("all arrived", |status| {
        let [redirected, delivered, ..] = counts(status, "all");
        redirected == delivered && redirected >= 4
    });
}

#[test]
fn a_pods_mtu_that_changes_is_followed() {
    let world = World::new();
    let pod = world.pod("server", "game", Style::Bridge, 5);
    world.policy("players", &[PLAYERS]);
    let agent = world.start(&["server"]);
    let to = at(pod.v4(), 7777);
    let mut sender = UdpSender::new(&world.client, to).unwrap().payload(1200);
    for (mtu, counter) in [(1000, "fellBack"), (1500, "redirected")] {
        pod.set_host_mtu(mtu).unwrap();
        pod.set_mtu(mtu).unwrap();
        let before = agent.status().unwrap().packets("players", counter);
        xdp_lab::wait_until(counter, PATIENCE, || {
            // Errors are the stack's answers.
            let _ = sender.send_one();
            agent
                .status()
                .is_some_and(|status| status.packets("players", counter) > before)
        })
        .unwrap();
    }
}
