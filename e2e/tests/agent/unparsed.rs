//! What cannot be parsed to its ports evades no rule that drops, and passes where there is none.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use xdp_e2e::Agent;
use xdp_lab::{LabPod, RawSocket, Style};

use crate::{
    fixture::{Fixture, PATIENCE, at},
    frames::{any, behind, on_wire, udp},
};

const CLOSED: u16 = 9999;
const OPEN: u16 = 8888;
const OPTIONS: u8 = 60;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;

/// What the rule for the closed port says.
const DROP: &str = "action: Drop";
const REJECT: &str = "action: Reject";
const LIMIT: &str = "action: Pass, rateLimit: {packetsPerSecond: 1, burst: 1}";
const LIMIT_PER_SOURCE: &str = "action: Redirect, rateLimit: {packetsPerSecond: 1, burst: 1, per: Source}";

struct Trial {
    fixture: Fixture,
    pod: LabPod,
    wire: RawSocket,
}

impl Trial {
    fn new(rules: &[&str]) -> Self {
        let fixture = Fixture::new();
        let pod = fixture.pod("server", "game", Style::Ptp, 5);
        fixture.policy("players", rules);
        let wire = RawSocket::sender(&fixture.client, &fixture.nic.wire).unwrap();
        Self { fixture, pod, wire }
    }

    /// A policy whose only rule is for the closed port.
    fn closed(action: &str) -> Self {
        let ports = format!("[{{protocol: UDP, port: {CLOSED}}}]");
        Self::new(&[&format!("{{name: closed, ports: {ports}, {action}}}")])
    }

    fn from(&self, to: IpAddr) -> IpAddr {
        if to.is_ipv4() {
            self.fixture.nic.client_v4
        } else {
            self.fixture.nic.client_v6
        }
    }

    fn udp(&self, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
        udp(self.from(to.ip()), to.ip(), to.port(), payload)
    }

    fn send(&self, packet: &[u8]) {
        self.wire.send(&on_wire(&self.fixture.nic, &[], packet)).unwrap();
    }

    fn bind(&self, to: SocketAddr) -> UdpSocket {
        let socket = self.pod.ns.run(|| UdpSocket::bind(to)).unwrap().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// Sends packets, and one to a port without a rule, and returns how many of the others arrived before it.
    /// All packets take one queue.
    fn arrived(&self, packets: &[Vec<u8>]) -> usize {
        let (closed, open) = (at(self.pod.v6(), CLOSED), at(self.pod.v6(), OPEN));
        let (inbox, end) = (self.bind(closed), self.bind(open));
        for packet in packets {
            self.send(packet);
        }
        self.send(&self.udp(open, b"end"));
        assert_eq!(end.recv(&mut [0; 16]).unwrap(), 3);
        inbox.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| inbox.recv(&mut [0; 16]).ok()).count()
    }

    fn many_headers(&self) -> Vec<Vec<u8>> {
        let packet = self.udp(at(self.pod.v6(), CLOSED), b"x");
        (7..=20)
            .map(|headers| behind(&packet, &vec![OPTIONS; headers]))
            .collect()
    }
}

fn expect(agent: &Agent<'_>, list: &str, reason: &str, packets: u64) {
    agent.wait_for(&format!("{packets} packets in {list}: {reason}"), |status| {
        status.happened(list, reason) == packets
    });
}

#[test]
fn no_number_of_extension_headers_reaches_a_closed_port() {
    for action in [DROP, REJECT, LIMIT, LIMIT_PER_SOURCE] {
        let trial = Trial::closed(action);
        let agent = trial.fixture.enforce(&["server"]);
        assert_eq!(trial.arrived(&trial.many_headers()), 0, "{action}");
        expect(&agent, "unparsedDrops", "TooManyExtensionHeaders", 14);
        expect(&agent, "unparsed", "TooManyExtensionHeaders", 0);
    }
}

#[test]
fn up_to_six_extension_headers_the_rule_itself_decides() {
    let trial = Trial::closed(DROP);
    let agent = trial.fixture.enforce(&["server"]);
    let packet = trial.udp(at(trial.pod.v6(), CLOSED), b"x");
    let mut packets: Vec<_> = (0..=6).map(|n| behind(&packet, &vec![OPTIONS; n])).collect();
    packets.push(behind(
        &packet,
        &[0, OPTIONS, ROUTING, OPTIONS, FRAGMENT, OPTIONS],
    ));
    assert_eq!(trial.arrived(&packets), 0);
    agent.wait_for("all are dropped by the rule", |status| {
        status.packets("closed", "dropped") == 8
    });
    expect(&agent, "unparsedDrops", "TooManyExtensionHeaders", 0);
}

#[test]
fn a_pod_without_a_rule_that_drops_gets_what_it_got_before() {
    const CLOSED: &str = "{name: closed, ports: [{protocol: UDP, port: 9999}], action: Drop}";
    const PASS: &str = "{name: open, ports: [{protocol: UDP, port: 9999}], action: Pass}";
    const OTHERS: &str = "{name: others, from: [{ipBlock: {cidr: 'fd09::/16'}}], action: Drop}";
    const GAMES: &str = "podSelector: {matchLabels: {app: game}}";
    let audit = format!("{GAMES}\nenforcement: Audit");
    let cases: [(&str, &[&str]); 4] = [
        (GAMES, &[PASS]),
        (GAMES, &[OTHERS]),
        // The first rule leaves the second one nothing.
        (GAMES, &["{name: all, action: Pass}", CLOSED]),
        (&audit, &[CLOSED]),
    ];
    for (spec, rules) in cases {
        let trial = Trial::new(&[PASS]);
        trial.fixture.policy_with("players", spec, rules);
        let agent = trial.fixture.enforce(&["server"]);
        let packets = trial.many_headers();
        assert_eq!(trial.arrived(&packets), packets.len(), "{rules:?}");
        expect(&agent, "unparsed", "TooManyExtensionHeaders", 14);
        expect(&agent, "unparsedDrops", "TooManyExtensionHeaders", 0);
    }
}

/// Linux takes a packet without a payload length, and without the option of a jumbogram, for as long as the
/// frame.
fn jumbogram(packet: &[u8]) -> Vec<u8> {
    let mut longer = behind(packet, &[0]);
    longer[4..6].fill(0);
    longer
}

#[test]
fn packets_of_unknown_length_reach_no_closed_port() {
    let trial = Trial::closed(DROP);
    let agent = trial.fixture.enforce(&["server"]);
    let packet = jumbogram(&trial.udp(at(trial.pod.v6(), CLOSED), b"x"));
    assert_eq!(trial.arrived(&[packet.clone(), packet]), 0);
    expect(&agent, "unparsedDrops", "Jumbogram", 2);
}

/// A first fragment that ends before the transport header, and the rest.
fn split(packet: &[u8]) -> [Vec<u8>; 2] {
    const HEADER: usize = 40;
    let whole = behind(packet, &[FRAGMENT, OPTIONS]);
    let part = |bytes: &[u8], offset: [u8; 2]| {
        let mut part = [&whole[..HEADER + 8], bytes].concat();
        part[4..6].copy_from_slice(&(8 + bytes.len() as u16).to_be_bytes());
        part[HEADER + 2..HEADER + 4].copy_from_slice(&offset);
        part
    };
    let rest = &whole[HEADER + 8..];
    [part(&rest[..8], [0, 1]), part(&rest[8..], [0, 8])]
}

#[test]
fn a_first_fragment_without_ports_opens_no_closed_port() {
    let trial = Trial::closed(DROP);
    let agent = trial.fixture.enforce(&["server"]);
    let parts = split(&trial.udp(at(trial.pod.v6(), CLOSED), b"x"));
    assert_eq!(trial.arrived(&parts), 0);
    expect(&agent, "unparsedDrops", "Short", 1);
}

/// A packet sees only rules for its own protocol, even if its ports are cut off.
#[test]
fn packets_with_short_headers_meet_the_rules_of_their_protocol() {
    let trial = Trial::new(&["{name: closed, ports: [{protocol: TCP, port: 9999}], action: Drop}"]);
    let agent = trial.fixture.enforce(&["server"]);
    let tap = RawSocket::receiver(&trial.pod.ns, "eth0").unwrap();
    let mut dropped = 0;
    for to in trial.pod.addresses() {
        for length in 0..4 {
            trial.send(&any(trial.from(to), to, 6, &vec![0xab; length]));
            dropped += 1;
        }
        let passes = any(trial.from(to), to, 17, &[0xcd; 3]);
        trial.send(&passes);
        tap.receive(PATIENCE, |seen| seen.ends_with(&[0xcd; 3])).unwrap();
    }
    expect(&agent, "unparsedDrops", "Short", dropped);
    expect(&agent, "unparsed", "Short", 2);
}

/// ESP, AH in IPv4 and protocols without a name are known: rules without `ports` match them, and no others.
#[test]
fn other_protocols_meet_rules_without_ports() {
    let others = [47, 50, 51, 253];
    let trial = Trial::closed(DROP);
    let agent = trial.fixture.enforce(&["server"]);
    let to = trial.pod.v4();
    let send = || {
        for other in others {
            trial.send(&any(trial.from(to), to, other, &[0; 24]));
        }
    };
    let tap = RawSocket::receiver(&trial.pod.ns, "eth0").unwrap();
    send();
    tap.receive(PATIENCE, |seen| seen.get(23) == Some(&253)).unwrap();
    trial.fixture.policy("players", &["{name: all, action: Drop}"]);
    agent.wait_for("the new rule is programmed", |status| {
        !status.json()["rules"].to_string().contains("closed") && status.programmed("server")
    });
    send();
    agent.wait_for("all are dropped by the rule", |status| {
        status.packets("all", "dropped") == others.len() as u64
    });
}

/// The stack removes any number of them.
#[test]
fn no_number_of_priority_tags_reaches_a_closed_port() {
    for action in [DROP, REJECT, LIMIT, LIMIT_PER_SOURCE] {
        let trial = Trial::closed(action);
        let frames = |trial: &Trial| -> Vec<Vec<u8>> {
            let packets = [trial.pod.v4(), trial.pod.v6()].map(|pod| trial.udp(at(pod, CLOSED), b"x"));
            let tagged = packets.iter().flat_map(|packet| {
                [3, 4, 10, 100].map(|tags| on_wire(&trial.fixture.nic, &vec![0xe000; tags], packet))
            });
            tagged.collect()
        };
        let arrived = |trial: &Trial| {
            let any = |port| SocketAddr::from(([0_u16; 8], port));
            let (inbox, end) = (trial.bind(any(CLOSED)), trial.bind(any(OPEN)));
            for frame in frames(trial) {
                trial.wire.send(&frame).unwrap();
            }
            trial.send(&trial.udp(at(trial.pod.v6(), OPEN), b"end"));
            assert_eq!(end.recv(&mut [0; 16]).unwrap(), 3);
            inbox.set_nonblocking(true).unwrap();
            std::iter::from_fn(|| inbox.recv(&mut [0; 16]).ok()).count()
        };
        assert_eq!(arrived(&trial), 8, "without the agent the stack delivers them");
        let agent = trial.fixture.enforce(&["server"]);
        assert_eq!(arrived(&trial), 0, "{action}");
        expect(&agent, "unparsedDrops", "TooManyTags", 8);
        expect(&agent, "unparsed", "TooManyTags", 0);
    }
}
