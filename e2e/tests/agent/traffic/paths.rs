//! Several NICs, and packets of unusual size.

use xdp_e2e::Status;
use xdp_lab::{NicSpec, Style, UdpReceiver, UdpSender};

use crate::fixture::{Fixture, IN_FLIGHT, PATIENCE, PLAYERS, all_arrive, at, expect_counts, only_mark};

#[test]
fn packets_of_two_nics_reach_the_same_pod() {
    let fixture = Fixture::new();
    let second = fixture.lab.namespace("second").unwrap();
    let nic = fixture.lab.nic(NicSpec::new("nic1", &second)).unwrap();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    let agent = fixture.start(&["server"]);
    agent.wait_for("both NICs are attached", |status| {
        status.nic_mode("nic1") == Some("Native")
    });

    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    for client in [&fixture.client, &second] {
        let mut sender = UdpSender::new(client, to).unwrap();
        all_arrive(&mut sender, &inbox, 300, IN_FLIGHT);
    }
    let received = inbox.received();
    only_mark(&received, 42, 600);
    assert_eq!(received.sources.get(&fixture.nic.client_v4), Some(&300));
    assert_eq!(received.sources.get(&nic.client_v4), Some(&300));
    expect_counts(&agent, "players", [600, 600, 0, 0, 0, 0]);
}

/// A redirected first fragment would leave a stack that tracks connections waiting for it.
#[test]
fn fragments_go_to_the_stack_and_arrive_whole_without_a_mark() {
    let fixture = Fixture::new();
    let ported = fixture.pod("ported", "game", Style::Ptp, 5);
    let any = fixture.pod("any", "any", Style::Bridge, 6);
    fixture.policy("players", &[PLAYERS]);
    let selector = "podSelector: {matchLabels: {app: any}}";
    fixture.policy_with("any", selector, &["{name: any, action: Redirect, mark: 7}"]);
    let agent = fixture.start(&["ported", "any"]);
    for to in [ported.v4(), ported.v6(), any.v4(), any.v6()].map(|ip| at(ip, 7777)) {
        let pod = if ported.addresses().any(|ip| ip == to.ip()) {
            &ported
        } else {
            &any
        };
        let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
        let mut sender = UdpSender::new(&fixture.client, to).unwrap().payload(4000);
        // Three fragments each, of a page each.
        all_arrive(&mut sender, &inbox, 50, IN_FLIGHT / 8);
        let received = inbox.received();
        assert_eq!(received.bytes, 50 * 4000);
        only_mark(&received, 0, 50);
    }
    // Later fragments have no ports.
    expect_counts(&agent, "players", [0, 0, 0, 0, 0, 2 * 50]);
    let status = expect_counts(&agent, "any", [0, 0, 0, 0, 0, 2 * 150]);
    assert_eq!(status.json()["fallbacks"]["Fragment"], 400);
}

#[test]
fn a_frame_over_the_pods_mtu_goes_to_the_stack_which_sends_an_icmp_error() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    pod.set_mtu(1400).unwrap();
    pod.set_host_mtu(1400).unwrap();
    fixture.policy("players", &["{name: all, action: Redirect, mark: 42}"]);
    let agent = fixture.start(&["server"]);
    let too_long = |status: &Status| status.json()["fallbacks"]["TooLong"].as_u64().unwrap_or(0);
    for ip in pod.addresses() {
        let to = at(ip, 7777);
        let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
        let mut sender = UdpSender::new(&fixture.client, to).unwrap().payload(1440);
        let before = too_long(&agent.look());
        sender.send_one().unwrap();
        agent.wait_for("it fell back", |status| too_long(status) == before + 1);
        // The client knows the path MTU now, and sends fragments.
        xdp_lab::wait_until("a fragmented datagram arrives", PATIENCE, || {
            // An error is the stack's answer to the datagram before.
            let _ = sender.send_one();
            inbox.received().packets > 0
        })
        .unwrap();
        assert_eq!(inbox.received().marks.keys().collect::<Vec<_>>(), [&0]);
    }
    let fits = UdpSender::new(&fixture.client, at(pod.v4(), 7778)).unwrap();
    let inbox = UdpReceiver::bind(&pod.ns, at(pod.v4(), 7778)).unwrap();
    fits.payload(1372).send(20).unwrap();
    only_mark(&inbox.wait_for(20, PATIENCE).unwrap(), 42, 20);
}

#[test]
fn a_changed_mtu_of_a_pod_is_programmed() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    let agent = fixture.start(&["server"]);
    // For the first address the client has learned the path MTU, and sends fragments from then on.
    for (ip, mtu, counter) in [(pod.v4(), 1300, "fellBack"), (pod.v6(), 1500, "redirected")] {
        pod.set_host_mtu(mtu).unwrap();
        pod.set_mtu(mtu).unwrap();
        let mut sender = UdpSender::new(&fixture.client, at(ip, 7777))
            .unwrap()
            .payload(1400);
        let before = agent.look().packets("players", counter);
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
