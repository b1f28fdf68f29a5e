//! Rules, and packets that match each of them or just miss it.

use std::net::IpAddr;

use xdp_lab::{LabPod, Nic};

use crate::frames::{any, icmp, ip, udp};

const BANNED: &str = "198.51.100.66";
pub(super) const NOT_BANNED: &str = "198.51.100.130";

/// The last rule of the first policy is for the test: its packet shows that the earlier packets are
/// processed.
pub(super) const RULES: [&str; 7] = [
    "{name: banned, from: [{ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.128/25]}}], action: Drop}",
    "{name: closed, ports: [{protocol: TCP, port: 22}], action: Reject}",
    "{name: ping, ports: [{protocol: ICMP, type: 8}, {protocol: ICMPv6, type: 128}], action: Pass}",
    "{name: players, ports: [{protocol: UDP, port: 7777, endPort: 7790}], action: Redirect, mark: 42}",
    "{name: slow, ports: [{protocol: UDP, port: 9000}], action: Pass, rateLimit: {packetsPerSecond: 10, burst: 7}}",
    "{name: voice, ports: [{protocol: UDP, port: voice}], action: Redirect}",
    "{name: end, ports: [{protocol: UDP, port: 6666}], action: Pass}",
];
pub(super) const TRIAL: &str = "{name: no-web, ports: [{protocol: TCP, port: 80}], action: Drop}";

/// A packet, as arguments and as a frame, and the expected verdict.
pub(super) struct Case {
    pub(super) arguments: String,
    pub(super) packet: Vec<u8>,
    pub(super) verdict: &'static str,
    /// The deciding rule, and the counter that it increments.
    pub(super) counted: Option<(&'static str, &'static str)>,
}

fn syn(from: IpAddr, to: IpAddr, port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    ip(from, to)
        .tcp(4000, port, 1, 1000)
        .syn()
        .write(&mut packet, b"")
        .unwrap();
    packet
}

pub(super) fn cases(nic: &Nic, pod: &LabPod) -> Vec<Case> {
    let (v4, v6, banned) = (nic.client_v4, nic.client_v6, BANNED.parse().unwrap());
    let not_banned: IpAddr = NOT_BANNED.parse().unwrap();
    // Nothing has a route to it.
    let astray: IpAddr = "203.0.113.9".parse().unwrap();
    let to = |from: IpAddr| if from.is_ipv4() { pod.v4() } else { pod.v6() };
    let case = |from: IpAddr, words: &str, packet: Vec<u8>, verdict, counted| Case {
        arguments: format!("--from {from} --to {} {words}", to(from)),
        packet,
        verdict,
        counted,
    };
    let udp = |from: IpAddr, port: u16, verdict, counted| {
        let words = format!("--protocol UDP --port {port}");
        case(from, &words, udp(from, to(from), port, b"x"), verdict, counted)
    };
    let tcp = |from: IpAddr, port: u16, verdict, counted| {
        let words = format!("--protocol tcp --port {port}");
        case(from, &words, syn(from, to(from), port), verdict, counted)
    };
    let message = |from: IpAddr, kind: u8, verdict, counted| {
        let protocol = if from.is_ipv4() { "ICMP" } else { "ICMPv6" };
        let words = format!("--protocol {protocol} --type {kind}");
        case(from, &words, icmp(from, to(from), kind, 0), verdict, counted)
    };
    vec![
        udp(v4, 7776, "NoMatch", None),
        udp(v4, 7777, "Redirect", Some(("players", "redirected"))),
        udp(v6, 7790, "Redirect", Some(("players", "redirected"))),
        udp(v6, 7791, "NoMatch", None),
        udp(banned, 7777, "Drop", Some(("banned", "dropped"))),
        udp(not_banned, 7777, "Redirect", Some(("players", "redirected"))),
        udp(astray, 7777, "FallBack", Some(("players", "fellBack"))),
        udp(v4, 5004, "Redirect", Some(("voice", "redirected"))),
        udp(v4, 9000, "Pass", Some(("slow", "passed"))),
        udp(v4, 22, "NoMatch", None),
        tcp(v4, 22, "Reject", Some(("closed", "rejected"))),
        tcp(v6, 22, "Reject", Some(("closed", "rejected"))),
        tcp(v4, 80, "Audit", Some(("no-web", "audited"))),
        tcp(v4, 7777, "NoMatch", None),
        message(v4, 8, "Pass", Some(("ping", "passed"))),
        message(v4, 13, "NoMatch", None),
        message(v6, 128, "Pass", Some(("ping", "passed"))),
        case(v4, "--protocol 47", any(v4, to(v4), 47, &[0; 8]), "NoMatch", None),
    ]
}
