//! Frames that the node's stack would not take, and sources that it would not forward.

use std::{net::IpAddr, process::Command, time::Duration};

use xdp_e2e::{Agent, Status};
use xdp_lab::{EchoServer, LabPod, NicSpec, RawSocket, Style, UdpClient, UdpReceiver, wait_until};

use crate::{
    fixture::{Fixture, PATIENCE, PLAYERS, at, expect_counts},
    frames::{on_wire, udp},
};

const DROP: &str = "{name: players, ports: [{protocol: UDP, port: 7777}], action: Drop}";
const REJECT: &str = "{name: players, ports: [{protocol: UDP, port: 7777}], action: Reject}";
const SOON: Duration = Duration::from_millis(300);
/// The address of no station.
const STRANGER: [u8; 6] = [2, 0xaa, 0xbb, 0xcc, 0xdd, 0xee];

struct Site {
    fixture: Fixture,
    pod: LabPod,
    wire: RawSocket,
}

impl Site {
    fn new(spec: &str, rule: &str) -> Self {
        let fixture = Fixture::new();
        let pod = fixture.pod("server", "game", Style::Ptp, 5);
        let spec = format!("podSelector: {{matchLabels: {{app: game}}}}{spec}");
        fixture.policy_with("players", &spec, &[rule]);
        let wire = RawSocket::sender(&fixture.client, &fixture.nic.wire).unwrap();
        Self { fixture, pod, wire }
    }

    fn ip(&self, arguments: &str) {
        let words = arguments.split_whitespace();
        let run = || Command::new("ip").args(words).status().unwrap();
        let ended = self.fixture.lab.node().run(run).unwrap();
        assert!(ended.success(), "ip {arguments}");
    }

    /// One frame of each family.
    fn frames(&self, tags: &[u16]) -> [Vec<u8>; 2] {
        let nic = &self.fixture.nic;
        [(nic.client_v4, self.pod.v4()), (nic.client_v6, self.pod.v6())]
            .map(|(from, to)| on_wire(nic, tags, &udp(from, to, 7777, b"hello")))
    }

    fn send(&self, frames: &[Vec<u8>]) {
        for frame in frames {
            self.wire.send(frame).unwrap();
        }
    }

    /// Sends a frame of each family for this MAC address.
    fn send_to(&self, mac: [u8; 6]) {
        let frames = self.frames(&[]);
        self.send(&frames.map(|frame| [&mac[..], &frame[6..]].concat()));
    }
}

#[track_caller]
fn wait_for_foreign(agent: &Agent<'_>, reason: &str, packets: u64) -> Status {
    agent.wait_for(&format!("{packets} frames are counted as {reason}"), |status| {
        status.happened("foreign", reason) == packets
    })
}

#[test]
fn no_rule_applies_to_frames_for_other_stations_and_vlans() {
    for (spec, rule) in [
        ("", PLAYERS),
        ("\ndelivery: Peer", PLAYERS),
        ("", DROP),
        ("", REJECT),
    ] {
        let site = Site::new(spec, rule);
        let agent = site.fixture.enforce(&["server"]);
        let inbox = UdpReceiver::bind(&site.pod.ns, at(site.pod.v4(), 7777)).unwrap();
        site.send_to(STRANGER);
        wait_for_foreign(&agent, "OtherStation", 2);
        site.send(&site.frames(&[999]));
        site.send(&site.frames(&[30, 40]));
        wait_for_foreign(&agent, "OtherVlan", 4);
        expect_counts(&agent, "players", [0; 6]);
        assert_eq!(inbox.received().packets, 0, "the stack drops them");
        // Tags for the priority alone are of no VLAN.
        site.send(&site.frames(&[0xe000]));
        agent.wait_for("the rule decides", |status| {
            status.counts("players").iter().sum::<u64>() >= 2
        });
        assert_eq!(agent.look().happened("foreign", "OtherStation"), 2);
    }
}

#[test]
fn a_change_of_the_nics_address_is_followed() {
    let site = Site::new("", DROP);
    let agent = site.fixture.enforce(&["server"]);
    site.send(&site.frames(&[]));
    expect_counts(&agent, "players", [0, 0, 0, 2, 0, 0]);
    site.ip("link set nic0 address 02:aa:bb:cc:dd:ee");
    agent.wait_for("frames for the new address are the node's", |status| {
        site.send_to(STRANGER);
        status.packets("players", "dropped") > 2
    });
    let before = agent.look().happened("foreign", "OtherStation");
    site.send(&site.frames(&[]));
    agent.wait_for("frames for the old one are not", |status| {
        status.happened("foreign", "OtherStation") == before + 2
    });
}

#[test]
fn a_macvlans_own_address_is_the_nodes_as_long_as_it_is_there() {
    let site = Site::new("", DROP);
    let agent = site.fixture.enforce(&["server"]);
    site.send_to(STRANGER);
    wait_for_foreign(&agent, "OtherStation", 2);
    site.ip("link add link nic0 name top0 address 02:aa:bb:cc:dd:ee type macvlan mode bridge");
    site.ip("link set top0 up");
    agent.wait_for("frames for the macvlan are the node's", |status| {
        site.send_to(STRANGER);
        status.packets("players", "dropped") > 0
    });
    site.ip("link set top0 down");
    let before = |status: &Status| status.happened("foreign", "OtherStation");
    let seen = before(&agent.look());
    agent.wait_for("frames for the macvlan are not the node's any more", |status| {
        site.send_to(STRANGER);
        before(status) > seen + 2
    });
}

#[test]
fn a_bridge_that_the_nic_is_a_port_of_receives_its_frames() {
    let site = Site::new("", DROP);
    let agent = site.fixture.enforce(&["server"]);
    site.ip("link add br7 address 02:aa:bb:cc:dd:ee type bridge stp_state 0 forward_delay 0");
    site.ip("link set br7 up");
    site.ip("link set nic0 master br7");
    agent.wait_for("frames for the bridge are the node's", |status| {
        site.send_to(STRANGER);
        status.packets("players", "dropped") > 0
    });
    let dropped = agent.look().packets("players", "dropped");
    site.send(&site.frames(&[]));
    agent.wait_for("and those for the port, too", |status| {
        status.packets("players", "dropped") >= dropped + 2
    });
}

/// A bridge overwrites what marks a reply that bypasses the stack (`skb->cb`).
#[test]
fn replies_by_a_bridge_do_not_move_their_flow_to_the_stack() {
    const REDIRECT: &str = "{name: players, ports: [{protocol: UDP, port: 7777}], action: Redirect}";
    let site = Site::new("", REDIRECT);
    let nic = &site.fixture.nic;
    let agent = site.fixture.start(&["server"]);
    site.ip("link add br7 type bridge stp_state 0 forward_delay 0");
    site.ip(&format!("link set br7 address {} up", hex(nic.mac)));
    for address in [format!("{}/24", nic.v4), format!("{}/64 nodad", nic.v6)] {
        site.ip(&format!(
            "address del {} dev nic0",
            address.trim_end_matches(" nodad")
        ));
        site.ip(&format!("address add {address} dev br7"));
    }
    site.ip("link set nic0 master br7");
    for (client, pod) in [(nic.client_v4, site.pod.v4()), (nic.client_v6, site.pod.v6())] {
        let to = at(pod, 7777);
        let _server = EchoServer::start(&site.pod.ns, to).unwrap();
        let new_client = || UdpClient::bind(&nic.client, at(client, 0), SOON).unwrap();
        let count = || {
            let status = agent.look();
            (
                status.packets("players", "redirected"),
                status.happened("flowEvents", "StackFlowNoted"),
            )
        };
        let mut client = new_client();
        wait_until("a datagram is redirected", PATIENCE, || {
            let (before, _) = count();
            // What began in the stack stays there.
            client = new_client();
            client.request(to, 16, 64).is_ok() && count().0 > before
        })
        .unwrap();
        let (redirected, noted) = count();
        for _ in 0..20 {
            client.request(to, 16, 64).unwrap();
        }
        assert_eq!(count(), (redirected + 20, noted));
    }
}

fn hex(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[test]
fn without_an_agent_and_after_its_restart_frames_are_judged_as_before() {
    let site = Site::new("", DROP);
    let mut agent = site.fixture.enforce(&["server"]);
    agent.kill().unwrap();
    site.send_to(STRANGER);
    wait_for_foreign(&agent, "OtherStation", 2);
    site.send(&site.frames(&[]));
    expect_counts(&agent, "players", [0, 0, 0, 2, 0, 0]);
    agent.start().unwrap();
    agent.wait_for("the agent works again", |status| status.programmed("server"));
    site.send_to(STRANGER);
    wait_for_foreign(&agent, "OtherStation", 4);
    site.send(&site.frames(&[]));
    expect_counts(&agent, "players", [0, 0, 0, 4, 0, 0]);
}

/// Frames to the pod from these sources.
fn forged(site: &Site, sources: &[IpAddr]) -> Vec<Vec<u8>> {
    let nic = &site.fixture.nic;
    let frame = |from: &IpAddr| {
        let to = if from.is_ipv4() {
            site.pod.v4()
        } else {
            site.pod.v6()
        };
        on_wire(nic, &[], &udp(*from, to, 7777, b"forged"))
    };
    sources.iter().map(frame).collect()
}

#[test]
fn forged_sources_are_the_stacks_with_either_delivery() {
    for spec in ["", "\ndelivery: Peer"] {
        let site = Site::new(spec, PLAYERS);
        // No policy selects it.
        let other = site
            .fixture
            .lab
            .pod(&crate::fixture::spec("other", Style::Ptp, 7))
            .unwrap();
        let node = site.fixture.lab.node();
        node.set_sysctl("net/ipv4/conf/all/rp_filter", "1").unwrap();
        let agent = site.fixture.start(&[]);
        agent.wait_for("the pod is programmed", |status| status.programmed("server"));
        site.send(&site.frames(&[]));
        agent.wait_for("a neighbour's packets are redirected", |status| {
            status.packets("players", "redirected") == 2
        });
        let nic = &site.fixture.nic;
        let martian = [
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::1",
        ];
        let mut sources: Vec<IpAddr> = martian.map(|ip| ip.parse().unwrap()).to_vec();
        sources.extend([
            nic.v4,
            nic.v6,
            other.v4(),
            other.v6(),
            site.pod.v4(),
            site.pod.v6(),
        ]);
        site.send(&forged(&site, &sources));
        agent.wait_for("they are fallbacks", |status| {
            status.happened("fallbacks", "Source") == sources.len() as u64
        });
        assert_eq!(agent.look().packets("players", "redirected"), 2);
    }
}

#[test]
fn rp_filter_is_followed() {
    let site = Site::new("", PLAYERS);
    let other = site.fixture.lab.namespace("other-client").unwrap();
    let second = site.fixture.lab.nic(NicSpec::new("nic1", &other)).unwrap();
    let node = site.fixture.lab.node();
    let mut agent = Agent::new(&site.fixture.lab, &site.fixture.manifests).nics(&["nic*"]);
    agent.start().unwrap();
    agent.wait_for("both NICs are attached", |status| {
        let attached = |nic| status.nic_mode(nic) == Some("Native");
        attached("nic0") && attached("nic1") && status.ready("server")
    });
    let mut port = 10_000_u16;
    let mut send = || {
        let mut packet = udp(second.client_v4, site.pod.v4(), 7777, b"another way");
        port += 1;
        packet[20..22].copy_from_slice(&port.to_be_bytes());
        site.wire.send(&on_wire(&site.fixture.nic, &[], &packet)).unwrap();
    };
    for (value, strict) in [("0", false), ("1", true), ("2", false)] {
        node.set_sysctl("net/ipv4/conf/nic0/rp_filter", value).unwrap();
        let before = agent.look();
        let count = |status: &Status| {
            if strict {
                status.happened("fallbacks", "ReversePath")
            } else {
                status.packets("players", "redirected")
            }
        };
        let deadline = std::time::Instant::now() + PATIENCE;
        while count(&agent.look()) == count(&before) {
            assert!(std::time::Instant::now() < deadline, "rp_filter {value}");
            send();
        }
    }
}

#[test]
fn a_packet_at_the_end_of_its_life_is_the_stacks_in_a_known_flow_too() {
    let site = Site::new("", PLAYERS);
    let agent = site.fixture.start(&["server"]);
    let [v4, v6] = site.frames(&[]);
    let old = |mut frame: Vec<u8>, at: usize| {
        frame[14 + at] = 1;
        frame
    };
    site.send(&[v4.clone(), v6.clone()]);
    agent.wait_for("they are redirected", |status| {
        status.packets("players", "redirected") == 2
    });
    site.send(&[old(v4, 8), old(v6, 7)]);
    agent.wait_for("they are fallbacks", |status| {
        status.happened("fallbacks", "TimeToLive") == 2
    });
    assert_eq!(agent.look().packets("players", "redirected"), 2);
}
