//! Rate limits, measured at the receiver: packets within the limit arrive, packets above it do not.

mod crowd;
mod restart;

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use xdp_e2e::Agent;
use xdp_lab::{LabPod, Style, UdpReceiver, UdpSender};

use crate::fixture::{Fixture, PATIENCE, at, expect_only};

const RATE: u64 = 2000;
const BURST: u64 = 1000;
/// The burst of each sender in a flood: few compared with the 256 packets that the rings on the path hold.
pub(crate) const AT_ONCE: u64 = 20;
const FROM: [&str; 2] = ["198.51.100.7", "198.51.100.8"];

/// A pod whose rule for port 7777 is limited.
fn fixture(action: &str, per: &str) -> (Fixture, LabPod) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    let limit = format!("{{packetsPerSecond: {RATE}, burst: {BURST}, per: {per}}}");
    let ports = "[{protocol: UDP, port: 7777}]";
    fixture.policy(
        "players",
        &[&format!(
            "{{name: players, ports: {ports}, action: {action}, rateLimit: {limit}}}"
        )],
    );
    (fixture, pod)
}

fn sources(fixture: &Fixture) -> [IpAddr; 2] {
    let sources = FROM.map(|ip| ip.parse().unwrap());
    for source in sources {
        fixture.nic.add_client_address(source).unwrap();
    }
    sources
}

/// Datagrams to a port without a rule. When one arrives, the NIC and the pod have processed everything sent
/// before it.
pub(crate) struct Marker {
    sender: UdpSender,
    inbox: UdpReceiver,
}

impl Marker {
    pub(crate) fn new(fixture: &Fixture, pod: &LabPod, ip: IpAddr) -> Self {
        let to = at(ip, 9999);
        Self {
            sender: UdpSender::new(&fixture.client, to).unwrap(),
            inbox: UdpReceiver::bind(&pod.ns, to).unwrap(),
        }
    }

    fn pass(&mut self) {
        self.sender.send_one().unwrap();
        self.inbox.wait_for(self.sender.sent(), PATIENCE).unwrap();
    }
}

/// Sends datagrams from each sender at this rate, or slower on a busy machine, so that none is lost before
/// the limit. Returns the time of each burst.
pub(crate) fn flood(
    marker: &mut Marker,
    senders: &mut [UdpSender],
    packets: u64,
    per_second: u32,
) -> Vec<Instant> {
    // From now on, no packet waits for neighbour resolution.
    marker.pass();
    let mut sent_at = Vec::new();
    for _ in 0..packets / AT_ONCE {
        sent_at.push(Instant::now());
        for _ in 0..AT_ONCE {
            for sender in senders.iter_mut() {
                sender.send_one().unwrap();
            }
        }
        thread::sleep(Duration::from_secs(1) * AT_ONCE as u32 / per_second);
        marker.pass();
    }
    sent_at
}

/// Returns how many packets of these bursts a limit allows: a pause adds at most the limit's burst.
pub(crate) fn due(sent_at: &[Instant], each: u64, rate: u64, burst: u64) -> u64 {
    // The parts of a packet; a nanosecond adds `rate` parts.
    const PACKET: u64 = 1_000_000_000;
    let (mut saved, mut through, mut last) = (burst * PACKET, 0, sent_at[0]);
    for now in sent_at {
        let earned = now.duration_since(last).as_nanos() as u64 * rate;
        saved = (saved + earned).min(burst * PACKET);
        let passed = (saved / PACKET).min(each);
        saved -= passed * PACKET;
        through += passed;
        last = *now;
    }
    through
}

/// Checks within 2% and one burst: a busy machine may process a packet later than it was sent.
#[track_caller]
pub(crate) fn is_within(received: u64, due: u64) {
    println!("{received} received, {due} are due");
    assert!(
        received.abs_diff(due) <= due / 50 + AT_ONCE,
        "{received} for {due}"
    );
}

#[track_caller]
fn is_due(received: u64, sent_at: &[Instant]) {
    is_within(received, due(sent_at, AT_ONCE, RATE, BURST));
}

/// Waits until the rule has counted all sent packets, and all allowed packets have arrived.
#[track_caller]
fn wait_until_counted(agent: &Agent<'_>, inbox: &UdpReceiver, sent: u64, through: &str) -> u64 {
    let status = agent.wait_for("every packet is accounted for", |status| {
        status.counts("players").iter().sum::<u64>() - status.packets("players", "delivered") == sent
            && inbox.received().packets == status.packets("players", through)
    });
    assert_eq!(
        status.packets("players", "limited") + status.packets("players", through),
        sent
    );
    status.packets("players", through)
}

fn a_rule_lets_its_rate_and_one_burst_through(action: &str, through: &str) {
    const SENT: u64 = 12_000;
    let (fixture, pod) = fixture(action, "Rule");
    let agent = fixture.start(if action == "Redirect" { &["server"] } else { &[] });
    agent.wait_for("the rule is programmed", |status| status.programmed("server"));
    for (ip, sent) in pod.addresses().zip([SENT, 2 * SENT]) {
        let before = agent.look().packets("players", through);
        let inbox = UdpReceiver::bind(&pod.ns, at(ip, 7777)).unwrap();
        let sender = UdpSender::new(&fixture.client, at(ip, 7777)).unwrap();
        let mut marker = Marker::new(&fixture, &pod, ip);
        let sent_at = flood(&mut marker, &mut [sender], SENT, 6000);
        agent.wait_for("every packet is accounted for", |status| {
            let through = status.packets("players", through);
            through + status.packets("players", "limited") == sent
                && inbox.received().packets == through - before
        });
        is_due(inbox.received().packets, &sent_at);
        // The next flood begins with a full burst.
        thread::sleep(Duration::from_secs(1) * BURST as u32 / RATE as u32);
    }
}

#[test]
fn a_redirect_rule_lets_its_rate_and_one_burst_through() {
    a_rule_lets_its_rate_and_one_burst_through("Redirect", "redirected");
}

#[test]
fn a_pass_rule_lets_its_rate_and_one_burst_through() {
    a_rule_lets_its_rate_and_one_burst_through("Pass", "passed");
}

#[test]
fn nothing_is_lost_below_the_limit() {
    let (fixture, pod) = fixture("Redirect", "Rule");
    let agent = fixture.start(&["server"]);
    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    let mut sender = UdpSender::new(&fixture.client, to).unwrap();
    // A pause delays at most as many packets as the rings on the path and the limit's burst hold.
    while sender.sent() < 4 * RATE {
        sender.send_paced(100, RATE as u32 * 9 / 10).unwrap();
        inbox.wait_for(sender.sent(), PATIENCE).unwrap();
    }
    assert_eq!(inbox.received().packets, 4 * RATE);
    expect_only(
        &agent,
        "players",
        &[("redirected", 4 * RATE), ("delivered", 4 * RATE)],
    );
}

/// Sends from both sources at the same time. Returns how many of each arrived, and the time of each burst.
fn two_sources(per: &str, packets: u64) -> ([u64; 2], Vec<Instant>) {
    let (fixture, pod) = fixture("Redirect", per);
    let sources = sources(&fixture);
    let agent = fixture.start(&["server"]);
    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    let mut senders = sources.map(|source| UdpSender::from(&fixture.client, at(source, 0), to).unwrap());
    let mut marker = Marker::new(&fixture, &pod, pod.v4());
    let sent_at = flood(&mut marker, &mut senders, packets, 5000);
    wait_until_counted(&agent, &inbox, 2 * packets, "redirected");
    let received = inbox.received();
    let of = |source: IpAddr| received.sources.get(&source).copied().unwrap_or(0);
    (sources.map(of), sent_at)
}

#[test]
fn each_of_two_sources_has_its_own_limit() {
    let (received, sent_at) = two_sources("Source", 10_000);
    for received in received {
        is_due(received, &sent_at);
    }
}

#[test]
fn two_sources_share_the_limit_of_their_rule() {
    let ([first, second], sent_at) = two_sources("Rule", 10_000);
    is_within(first + second, due(&sent_at, 2 * AT_ONCE, RATE, BURST));
    assert!(first > 0 && second > 0);
}
