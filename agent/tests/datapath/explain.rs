//! `explain` on the loaded program.

use std::net::IpAddr;

use xdp_agent::{
    datapath::{Datapath, Explainer, ExplainerError, OpenError, Pinned},
    report::explain::{IpProtocol, ProbePacket, RuleLimit},
};
use xdp_core::{
    events::Fallback,
    verdict::{Kind, RuleTables as _},
};

use crate::{
    bpffs::Bpffs,
    node::{DEVICE, desired, pod, policy, program},
};

const RULES: [&str; 5] = [
    "{name: reject, ports: [{protocol: TCP, port: 25}], action: Reject}",
    "{name: limited, ports: [{protocol: UDP, port: 53}], action: Pass, rateLimit: {packetsPerSecond: 100, per: Source}}",
    "{name: drop, from: [{ipBlock: {cidr: 198.51.100.0/24}}], action: Drop}",
    "{name: redirect, ports: [{protocol: UDP, port: 7777}], action: Redirect}",
    "{name: ping, ports: [{protocol: ICMP, type: 8}], action: Drop}",
];

fn installed(bpffs: &Bpffs) -> Datapath {
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let objects = [pod("a", &["10.0.0.5"]), policy("p", "a", &RULES)].concat();
    program(&mut datapath, &desired(&objects));
    datapath
}

fn packet(from: &str, to: &str, protocol: IpProtocol, port: Option<u16>) -> ProbePacket {
    let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
    ProbePacket {
        from: ip(from),
        to: ip(to),
        protocol,
        source_port: port.map(|_| 40000),
        port,
        message: (protocol == IpProtocol::ICMP).then_some((8, 0)),
        extension_headers: 0,
        truncated: false,
    }
}

#[test]
fn the_kernel_tells_verdict_and_rule_and_counts_nothing() {
    let bpffs = Bpffs::new();
    let datapath = installed(&bpffs);
    // As a second process would.
    let pinned = Pinned::open(&bpffs.pin_dir()).unwrap();
    let explainer = Explainer::open(&pinned).unwrap();
    let labels = pinned.rule_labels();
    let cases = [
        (
            packet("192.0.2.1", "10.0.0.5", IpProtocol::TCP, Some(25)),
            Kind::Reject,
            "reject",
        ),
        (
            packet("192.0.2.1", "10.0.0.5", IpProtocol::UDP, Some(53)),
            Kind::Pass,
            "limited",
        ),
        (
            packet("198.51.100.9", "10.0.0.5", IpProtocol::SCTP, Some(1)),
            Kind::Drop,
            "drop",
        ),
        (
            packet("192.0.2.1", "10.0.0.5", IpProtocol::UDP, Some(7777)),
            Kind::Redirect,
            "redirect",
        ),
        (
            packet("192.0.2.1", "10.0.0.5", IpProtocol::ICMP, None),
            Kind::Drop,
            "ping",
        ),
        (
            packet("192.0.2.1", "10.0.0.5", IpProtocol::TCP, Some(80)),
            Kind::NoMatch,
            "",
        ),
        (
            packet("192.0.2.1", "10.0.0.6", IpProtocol::TCP, Some(25)),
            Kind::NotConsidered,
            "",
        ),
    ];
    for (packet, kind, rule) in cases {
        let answer = explainer.ask(&packet.frame(), DEVICE).unwrap();
        let name = answer
            .rule
            .map(|rule| labels[&rule].rule.as_str())
            .unwrap_or_default();
        assert_eq!((answer.kind, name), (kind, rule), "{packet}");
        assert_eq!(answer.slot.is_some(), kind != Kind::NotConsidered, "{packet}");
    }
    for rule in labels.keys() {
        assert_eq!(
            datapath.pinned().rule_counters(*rule).unwrap(),
            xdp_core::tables::RuleCounters::default()
        );
    }
    assert!(datapath.pinned().events().unwrap().is_empty());
}

#[test]
fn a_limit_is_shown_as_it_was_written() {
    let bpffs = Bpffs::new();
    let datapath = installed(&bpffs);
    let explainer = Explainer::open(datapath.pinned()).unwrap();
    let answer = explainer
        .ask(
            &packet("192.0.2.1", "10.0.0.5", IpProtocol::UDP, Some(53)).frame(),
            DEVICE,
        )
        .unwrap();
    let record = datapath
        .pinned()
        .live()
        .action(answer.action.unwrap() as u16)
        .unwrap();
    let limit = RuleLimit {
        packets_per_second: 100,
        burst: 10,
        per_source: true,
    };
    assert_eq!(RuleLimit::of(record), Some(limit));
}

#[test]
fn a_fallback_is_shown_with_its_reason() {
    let bpffs = Bpffs::new();
    let datapath = installed(&bpffs);
    let explainer = Explainer::open(datapath.pinned()).unwrap();
    let mut frame = packet("192.0.2.1", "10.0.0.5", IpProtocol::UDP, Some(7777)).frame();
    frame[0] |= 1;
    let answer = explainer.ask(&frame, DEVICE).unwrap();
    assert_eq!(
        (answer.kind, answer.reason),
        (Kind::FallBack, Some(Fallback::NotUnicast.code()))
    );
}

#[test]
fn where_tables_are_missing_none_are_made() {
    let bpffs = Bpffs::new();
    drop(installed(&bpffs));
    let pinned = Pinned::open(&bpffs.pin_dir()).unwrap();
    let missing = bpffs.pinned().join("maps/EVENTS");
    std::fs::remove_file(&missing).unwrap();
    let error = Explainer::open(&pinned).err().unwrap();
    assert!(
        matches!(error, ExplainerError::Load(OpenError::NotInstalled { .. })),
        "{error:?}"
    );
    assert!(!missing.exists());
}
