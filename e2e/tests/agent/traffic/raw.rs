//! Frames that sockets do not send.

use etherparse::{PacketBuilder, PacketBuilderStep, VlanId};
use xdp_lab::{LabPod, RawSocket, Style, UdpReceiver};

use crate::{
    fixture::{Fixture, PATIENCE, PLAYERS, at, expect_counts, only_mark},
    frames::{SILENCE, pings},
};

fn fixture() -> (Fixture, LabPod) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    (fixture, pod)
}

fn v4(ip: std::net::IpAddr) -> [u8; 4] {
    match ip {
        std::net::IpAddr::V4(ip) => ip.octets(),
        std::net::IpAddr::V6(ip) => panic!("{ip}"),
    }
}

fn v6(ip: std::net::IpAddr) -> [u8; 16] {
    match ip {
        std::net::IpAddr::V4(ip) => panic!("{ip}"),
        std::net::IpAddr::V6(ip) => ip.octets(),
    }
}

fn vlan(tag: u16) -> VlanId {
    tag.try_into().unwrap()
}

fn udp(step: PacketBuilderStep<etherparse::IpHeaders>, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    step.udp(4000, 7777).write(&mut frame, payload).unwrap();
    frame
}

#[test]
fn a_tagged_frame_is_redirected_without_its_tags_and_with_its_mark() {
    let (fixture, pod) = fixture();
    fixture.policy("players", &[PLAYERS]);
    let agent = fixture.start(&["server"]);
    let (nic, payload) = (&fixture.nic, b"with a priority");
    let (from, to) = (v4(nic.client_v4), v4(pod.v4()));
    let (from6, to6) = (v6(nic.client_v6), v6(pod.v6()));
    let ethernet = || PacketBuilder::ethernet2(nic.client_mac, nic.mac);
    let frames = [
        (
            18,
            udp(ethernet().single_vlan(vlan(0)).ipv4(from, to, 64), payload),
        ),
        (
            22,
            udp(
                ethernet().double_vlan(vlan(0), vlan(0)).ipv4(from, to, 64),
                payload,
            ),
        ),
        (
            18,
            udp(ethernet().single_vlan(vlan(0)).ipv6(from6, to6, 64), payload),
        ),
    ];
    let receivers = [pod.v4(), pod.v6()].map(|ip| UdpReceiver::bind(&pod.ns, at(ip, 7777)).unwrap());
    let tap = RawSocket::receiver(&pod.ns, "eth0").unwrap();
    let wire = RawSocket::sender(&fixture.client, &nic.wire).unwrap();
    for (header, frame) in &frames {
        wire.send(frame).unwrap();
        let packet = &frame[*header..];
        let seen = tap.receive(PATIENCE, |seen| seen.ends_with(packet)).unwrap();
        assert_eq!(seen.len(), 14 + packet.len(), "no tag");
        assert_eq!(seen[..6], pod.mac);
        assert_eq!(seen[6..12], nic.client_mac);
    }
    only_mark(&receivers[0].wait_for(2, PATIENCE).unwrap(), 42, 2);
    only_mark(&receivers[1].wait_for(1, PATIENCE).unwrap(), 42, 1);
    expect_counts(&agent, "players", [3, 3, 0, 0, 0, 0]);
}

#[test]
fn a_frame_to_a_group_address_passes_to_the_stack() {
    let (fixture, pod) = fixture();
    fixture.policy("players", &[PLAYERS]);
    let agent = fixture.start(&["server"]);
    let nic = &fixture.nic;
    let wire = RawSocket::sender(&fixture.client, &nic.wire).unwrap();
    let ethernet = PacketBuilder::ethernet2(nic.client_mac, [0xff; 6]);
    let frame = udp(ethernet.ipv4(v4(nic.client_v4), v4(pod.v4()), 64), b"broadcast");
    let tap = RawSocket::receiver(fixture.lab.node(), "nic0").unwrap();
    wire.send(&frame).unwrap();
    tap.receive(PATIENCE, |seen| seen == frame).unwrap();
    let status = expect_counts(&agent, "players", [0, 0, 0, 0, 0, 1]);
    assert_eq!(status.json()["fallbacks"]["NotUnicast"], 1);
}

#[test]
fn frames_that_the_stack_cannot_read_pass_unchanged_and_are_counted_by_reason() {
    let (fixture, pod) = fixture();
    fixture.policy("players", &["{name: all, action: Drop}"]);
    let agent = fixture.start(&[]);
    agent.wait_for("the rule is programmed", |status| status.programmed("server"));
    let nic = &fixture.nic;
    let (from, to) = (v4(nic.client_v4), v4(pod.v4()));
    let ethernet = || PacketBuilder::ethernet2(nic.client_mac, nic.mac);
    let good = udp(ethernet().ipv4(from, to, 64), b"never arrives");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good.clone();
        change(&mut frame);
        frame
    };
    let mut mapped = [0; 16];
    mapped[10..].copy_from_slice(&[0xff, 0xff, 10, 1, 0, 2]);
    let tags: Vec<u8> = [0x81, 0, 0, 7].repeat(3);
    let cases = [
        ("Short", changed(&|frame| frame.truncate(14 + 9))),
        ("Truncated", changed(&|frame| frame.truncate(14 + 20 + 8 + 5))),
        ("BadIpHeader", changed(&|frame| frame[14] = 0x55)),
        ("BadIpHeader", changed(&|frame| frame[14] = 0x44)),
        (
            "TooManyTags",
            changed(&|frame| drop(frame.splice(12..12, tags.clone()))),
        ),
        (
            "NotIp",
            changed(&|frame| frame[12..14].copy_from_slice(&[0x88, 0xcc])),
        ),
        (
            "V4MappedInV6",
            udp(ethernet().ipv6(mapped, v6(pod.v6()), 64), b"mapped"),
        ),
    ];
    let wire = RawSocket::sender(&fixture.client, &nic.wire).unwrap();
    let tap = RawSocket::receiver(fixture.lab.node(), "nic0").unwrap();
    for (reason, frame) in &cases {
        let before = agent.look().json()["unparsed"][reason].as_u64().unwrap_or(0);
        wire.send(frame).unwrap();
        tap.receive(PATIENCE, |seen| seen == frame)
            .unwrap_or_else(|error| panic!("{reason}: {error}"));
        agent.wait_for(reason, |status| {
            status.json()["unparsed"][reason].as_u64().unwrap_or(0) > before
        });
    }
    expect_counts(&agent, "all", [0; 6]);
    wire.send(&good).unwrap();
    expect_counts(&agent, "all", [0, 0, 0, 1, 0, 0]);
}

#[test]
fn an_echo_request_matches_a_rule_for_icmp_and_no_rule_for_udp() {
    let (fixture, pod) = fixture();
    let rules = [
        "{name: udp, ports: [{protocol: UDP}], action: Drop}",
        "{name: echo, ports: [{protocol: ICMP}], action: Drop}",
    ];
    fixture.policy("players", &rules);
    let agent = fixture.start(&[]);
    agent.wait_for("the rules are programmed", |status| status.programmed("server"));
    assert!(!pings(&fixture, &pod, false, 1, SILENCE));
    expect_counts(&agent, "echo", [0, 0, 0, 1, 0, 0]);
    assert!(
        pings(&fixture, &pod, true, 2, PATIENCE),
        "ICMPv6 is another protocol"
    );

    fixture.policy(
        "players",
        &["{name: echo, ports: [{protocol: ICMPv6}], action: Drop}"],
    );
    agent.wait_for("the rule for UDP is gone", |status| {
        !status.json()["rules"].to_string().contains("\"udp\"")
    });
    assert!(pings(&fixture, &pod, false, 3, PATIENCE));
    assert!(!pings(&fixture, &pod, true, 4, SILENCE));
}

#[test]
fn a_redirected_echo_request_is_answered() {
    let (fixture, pod) = fixture();
    fixture.policy("players", &["{name: echo, action: Redirect, mark: 42}"]);
    let agent = fixture.start(&["server"]);
    assert!(pings(&fixture, &pod, false, 1, PATIENCE));
    assert!(pings(&fixture, &pod, true, 2, PATIENCE));
    agent.wait_for("both were delivered", |status| {
        status.packets("echo", "redirected") == status.packets("echo", "delivered")
            && status.packets("echo", "redirected") >= 2
    });
}
