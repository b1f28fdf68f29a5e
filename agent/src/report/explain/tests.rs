//! Command lines, frames and texts.

use std::net::IpAddr;

use xdp_core::{
    events::Unparsed,
    parse::{TransportHeader, parse},
    tables::Class,
    verdict::Kind,
};
use xdp_plan::{
    facts::Readiness,
    installed::{PodLabel, SlotIdentity},
};

use crate::report::explain::{
    ExplainError, RuleMatch,
    answer::{DecidingRule, Explanation, ExplanationText, RuleLimit},
    destination,
    packet::{Details, ProbePacket},
    protocol::IpProtocol,
};

const PLAIN: Details = Details {
    source_port: 40000,
    port: None,
    kind: None,
    code: 0,
    extension_headers: 0,
    truncated: false,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn packet(from: &str, to: &str, protocol: &str, details: Details) -> Result<ProbePacket, ExplainError> {
    ProbePacket::new((ip(from), ip(to)), protocol.parse().unwrap(), details)
}

fn port(port: u16) -> Details {
    Details {
        port: Some(port),
        ..PLAIN
    }
}

fn label(namespace: &str, name: &str, addresses: &[&str]) -> PodLabel {
    PodLabel {
        identity: SlotIdentity {
            namespace: namespace.to_owned(),
            pod: name.to_owned(),
            uid: String::new(),
            ifindex: 1,
            mac: [2; 6],
        },
        interface: "veth1".to_owned(),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        readiness: Readiness::Ready,
        peer: None,
        reply_path: Readiness::Ready,
        draining: false,
    }
}

#[test]
fn a_frame_has_the_fields_of_the_packet() {
    for (from, to) in [("192.0.2.1", "10.0.0.5"), ("2001:db8::1", "fd00::5")] {
        for protocol in ["TCP", "udp", "SCTP"] {
            let packet = packet(from, to, protocol, port(7777)).unwrap();
            let frame = packet.frame();
            let parsed = parse(frame.as_slice()).unwrap();
            assert_eq!(parsed.protocol, packet.protocol.0);
            let ports = TransportHeader::Ports {
                source: 40000,
                destination: 7777,
            };
            assert_eq!(parsed.transport(), ports, "{packet}");
        }
        let other = packet(from, to, "47", PLAIN).unwrap().frame();
        assert_eq!(
            parse(other.as_slice()).unwrap().transport(),
            TransportHeader::Other
        );
    }
}

#[test]
fn icmp_is_an_echo_request_by_default() {
    let echo = packet("192.0.2.1", "10.0.0.5", "ICMP", PLAIN).unwrap();
    assert_eq!(echo.message, Some((8, 0)));
    let echo = packet("2001:db8::1", "fd00::5", "ICMPv6", PLAIN).unwrap();
    assert_eq!(echo.message, Some((128, 0)));
    let details = Details {
        kind: Some(3),
        code: 4,
        ..PLAIN
    };
    let too_long = packet("192.0.2.1", "10.0.0.5", "ICMP", details).unwrap();
    let frame = too_long.frame();
    let kind = TransportHeader::Icmp { kind: 3, code: 4 };
    assert_eq!(parse(frame.as_slice()).unwrap().transport(), kind);
}

#[test]
fn a_packet_that_cannot_be_parsed_can_be_asked_about() {
    let behind = |extension_headers| Details {
        extension_headers,
        ..port(7777)
    };
    for headers in 0..=20 {
        let packet = packet("2001:db8::1", "fd00::5", "UDP", behind(headers)).unwrap();
        let parsed = parse(packet.frame().as_slice());
        if headers <= 6 {
            assert_eq!(parsed.map(|parsed| parsed.protocol), Ok(17), "{packet}");
        } else {
            assert_eq!(parsed, Err(Unparsed::TooManyExtensionHeaders), "{packet}");
            assert_eq!(packet.columns(), Class::ANY_V6);
        }
    }
    for (from, to) in [("192.0.2.1", "10.0.0.5"), ("2001:db8::1", "fd00::5")] {
        let details = Details {
            truncated: true,
            ..port(7777)
        };
        let packet = packet(from, to, "TCP", details).unwrap();
        assert_eq!(parse(packet.frame().as_slice()), Err(Unparsed::Short), "{packet}");
        assert_eq!(packet.columns(), Class::TCP);
    }
}

#[test]
fn a_contradictory_packet_is_refused_with_the_remedy() {
    let cases = [
        (
            packet("192.0.2.1", "fd00::5", "TCP", port(80)),
            "two IPv4 or two IPv6",
        ),
        (packet("192.0.2.1", "10.0.0.5", "TCP", PLAIN), "--port"),
        (packet("192.0.2.1", "10.0.0.5", "ICMP", port(80)), "remove --port"),
        (
            packet(
                "192.0.2.1",
                "10.0.0.5",
                "TCP",
                Details {
                    extension_headers: 1,
                    ..port(80)
                },
            ),
            "remove --extension-headers",
        ),
        (
            packet(
                "192.0.2.1",
                "10.0.0.5",
                "ICMPv6",
                Details {
                    kind: Some(1),
                    ..PLAIN
                },
            ),
            "use ICMP",
        ),
    ];
    for (result, remedy) in cases {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(remedy), "{error}");
    }
    assert!("carrier-pigeon".parse::<IpProtocol>().is_err());
    assert!("256".parse::<IpProtocol>().is_err());
}

#[test]
fn a_pod_is_found_by_its_name_and_an_ambiguous_name_needs_the_namespace() {
    let pods = [
        label("games", "a", &["10.0.0.5", "fd00::5"]),
        label("games", "b", &["10.0.0.6"]),
        label("shop", "b", &["10.0.0.7"]),
    ];
    let resolve = |to, from| destination::resolve(to, ip(from), &pods);
    assert_eq!(resolve("a", "192.0.2.1").unwrap(), ip("10.0.0.5"));
    assert_eq!(resolve("games/a", "2001:db8::1").unwrap(), ip("fd00::5"));
    assert_eq!(resolve("shop/b", "192.0.2.1").unwrap(), ip("10.0.0.7"));
    assert_eq!(resolve("203.0.113.9", "192.0.2.1").unwrap(), ip("203.0.113.9"));
    let error = |to, from| resolve(to, from).unwrap_err().to_string();
    assert!(error("b", "192.0.2.1").contains("games/b or shop/b"));
    assert!(error("c", "192.0.2.1").contains("games/a, games/b, shop/b"));
    assert!(error("games/b", "2001:db8::1").contains("no IPv6 address"));
}

#[test]
fn the_text_names_the_rule_and_the_mismatch_of_earlier_rules() {
    let answer = Explanation {
        packet: packet("192.0.2.1", "10.0.0.5", "UDP", port(7777)).unwrap(),
        pod: Some("games/a".to_owned()),
        verdict: "FallBack".to_owned(),
        reason: Some("NetworkPolicy"),
        rule: Some(DecidingRule {
            id: 3,
            namespace: "games".to_owned(),
            policy: "players".to_owned(),
            rule: "udp".to_owned(),
        }),
        could_match: Vec::new(),
        audit: false,
        limit: Some(RuleLimit {
            packets_per_second: 100,
            burst: 10,
            per_source: true,
        }),
        network_policy: Some("NetworkPolicy games/deny-all (NotAllowed)".to_owned()),
        before: Some(vec![RuleMatch {
            namespace: "games".to_owned(),
            policy: "players".to_owned(),
            rule: "tcp".to_owned(),
            mismatch: Some("protocol".to_owned()),
        }]),
        notes: vec!["so it is".to_owned()],
    };
    let text = ExplanationText(&answer, Kind::FallBack).to_string();
    let expected = "UDP from 192.0.2.1 port 40000 to 10.0.0.5 port 7777
passes to the stack, although the rule says Redirect: NetworkPolicy
pod:    games/a
rule:   udp of XdpPolicy games/players (id 3)
network-policy: NetworkPolicy games/deny-all (NotAllowed) does not certainly allow it
limit:  100 packets/s per source, burst 10; not evaluated
earlier rules:
  protocol  games/players tcp
note:   so it is
";
    assert_eq!(text, expected);
}
