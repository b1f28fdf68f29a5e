//! The limit of answers per second: a flood of rejected packets causes no flood of answers.

use std::{fs, time::Instant};

use xdp_e2e::Agent;
use xdp_lab::{LabPod, Namespace, UdpSender, wait_until};

use super::{WEB, fixture};
use crate::{
    fixture::{Fixture, PATIENCE, at, expect_only},
    limits::{
        AT_ONCE, Marker, due, is_within, {self},
    },
    metrics::scrape,
};

/// The documented default.
const PER_SECOND: u64 = 1000;

fn start(mut agent: Agent<'_>) -> Agent<'_> {
    agent.start().unwrap();
    agent.wait_for("the rule is programmed", |status| {
        status.nic_mode("nic0") == Some("Native") && status.programmed("server")
    });
    agent
}

/// Returns how many ICMP errors of type 3 the namespace has received.
fn unreachables(namespace: &Namespace) -> u64 {
    let read = || fs::read_to_string("/proc/thread-self/net/snmp");
    let text = namespace.run(read).unwrap().unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Icmp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut found = names.split(' ').zip(values.split(' '));
    let (_, value) = found.find(|(name, _)| *name == "InDestUnreachs").unwrap();
    value.parse().unwrap()
}

/// Sends datagrams that are rejected. Returns how many answers were sent, and the time of each burst.
fn flood(fixture: &Fixture, agent: &Agent<'_>, pod: &LabPod, packets: u64) -> (u64, Vec<Instant>) {
    let sender = UdpSender::new(&fixture.client, at(pod.v4(), 80)).unwrap();
    let mut marker = Marker::new(fixture, pod, pod.v4());
    let sent_at = limits::flood(&mut marker, &mut [sender], packets, 4000);
    let status = expect_only(agent, "web", &[("rejected", packets)]);
    let unanswered = status.happened("events", "RejectLimited");
    let answers = packets - unanswered;
    // Answers may still be in flight, and the wire drops answers that a busy client does not read.
    let arrived = wait_until("answers arrive", PATIENCE, || {
        answers.saturating_sub(unreachables(&fixture.client)) * 20 <= answers
    });
    let received = unreachables(&fixture.client);
    assert!(
        arrived.is_ok() && received <= answers,
        "{received} of {answers} answers"
    );
    (answers, sent_at)
}

#[test]
fn at_most_a_thousand_answers_per_second_are_sent_and_the_others_are_counted() {
    const SENT: u64 = 8000;
    let (fixture, pod) = fixture(&[WEB]);
    let agent = start(Agent::new(&fixture.lab, &fixture.manifests).listens());
    let (answers, sent_at) = flood(&fixture, &agent, &pod, SENT);
    is_within(answers, due(&sent_at, AT_ONCE, PER_SECOND, PER_SECOND));
    let metrics = scrape(&agent);
    let limited = metrics.sum("xdp_agent_events_total", &[("reason", "RejectLimited")]);
    assert_eq!(limited as u64, SENT - answers, "{}", metrics.text);
}

#[test]
fn the_administrator_sets_the_limit_of_answers() {
    let (fixture, pod) = fixture(&[WEB]);
    let agent = Agent::new(&fixture.lab, &fixture.manifests).arguments(&["--rejects-per-second", "100"]);
    let agent = start(agent);
    let (answers, sent_at) = flood(&fixture, &agent, &pod, 8000);
    is_within(answers, due(&sent_at, AT_ONCE, 100, 100));
}

#[test]
fn a_limit_of_zero_turns_reject_into_drop() {
    let (fixture, pod) = fixture(&[WEB]);
    let agent = Agent::new(&fixture.lab, &fixture.manifests).arguments(&["--rejects-per-second", "0"]);
    let agent = start(agent);
    let to = at(pod.v4(), 80);
    let mut sender = UdpSender::new(&fixture.client, to).unwrap();
    sender.send(20).unwrap();
    let status = expect_only(&agent, "web", &[("rejected", 20)]);
    assert_eq!(status.happened("events", "RejectLimited"), 20);
    assert_eq!(unreachables(&fixture.client), 0);
}
