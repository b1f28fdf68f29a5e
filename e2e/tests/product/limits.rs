//! Rate limits, counted at the receiver: what a rule promises arrives, what exceeds it does not.

mod crowd;
mod restart;

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use xdp_e2e::Agent;
use xdp_lab::{Namespace, Pod, Style, UdpReceiver, UdpSender};

use crate::world::{PATIENCE, World, at, expect_only};

const RATE: u64 = 2000;
/// A busy machine may pause a sender for as long as this lasts.
const BURST: u64 = 1000;
const FROM: [&str; 2] = ["198.51.100.7", "198.51.100.8"];

/// A pod whose rule for port 7777 is limited.
fn world(action: &str, per: &str) -> (World, Pod) {
    let world = World::new();
    let pod = world.pod("server", "game", Style::Ptp, 5);
    let limit = format!("{{packetsPerSecond: {RATE}, burst: {BURST}, per: {per}}}");
    let ports = "[{protocol: UDP, port: 7777}]";
    world.policy(
        "players",
        &[&format!(
            "{{name: players, ports: {ports}, action: {action}, rateLimit: {limit}}}"
        )],
    );
    (world, pod)
}

fn sources(world: &World) -> [IpAddr; 2] {
    let sources = FROM.map(|ip| ip.parse().unwrap());
    for source in sources {
        world.nic.add_client_address(source).unwrap();
    }
    sources
}

/// Sends so many at this pace and returns how long that took.
fn flood(sender: &mut UdpSender, packets: u64, per_second: u32) -> Duration {
    let start = Instant::now();
    sender.send_paced(packets, per_second).unwrap();
    start.elapsed()
}

/// Checks, to the twentieth part, that this many is what a limit lets through in this time when there is more all the time.
#[track_caller]
pub(crate) fn is_within(received: u64, took: Duration, rate: u64, burst: u64) {
    let due = burst + rate * took.as_millis() as u64 / 1000;
    println!("{received} received in {took:?}, {due} are due");
    assert!(received.abs_diff(due) * 20 <= due, "{received} for {due}");
}

#[track_caller]
fn is_due(received: u64, took: Duration) {
    is_within(received, took, RATE, BURST);
}

/// Waits until the rule has counted all that was sent, and everything it let through has arrived.
#[track_caller]
fn settle(agent: &Agent<'_>, inbox: &UdpReceiver, sent: u64, through: &str) -> u64 {
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
    let (world, pod) = world(action, "Rule");
    let agent = world.start(if action == "Redirect" { &["server"] } else { &[] });
    agent.wait_for("the rule is in force", |status| status.in_force("server"));
    for (ip, sent) in pod.addresses().zip([SENT, 2 * SENT]) {
        let before = agent.status().unwrap().packets("players", through);
        let inbox = UdpReceiver::bind(&pod.ns, at(ip, 7777)).unwrap();
        let mut sender = UdpSender::new(&world.client, at(ip, 7777)).unwrap();
        let took = flood(&mut sender, SENT, 6000);
        agent.wait_for("every packet is accounted for", |status| {
            let through = status.packets("players", through);
            through + status.packets("players", "limited") == sent
                && inbox.received().packets == through - before
        });
        is_due(inbox.received().packets, took);
        // The next one begins with a whole burst.
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
    let (world, pod) = world("Redirect", "Rule");
    let agent = world.start(&["server"]);
    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    let mut sender = UdpSender::new(&world.client, to).unwrap();
    sender.send_paced(4 * RATE, RATE as u32 * 9 / 10).unwrap();
    assert_eq!(inbox.wait_for(4 * RATE, PATIENCE).unwrap().packets, 4 * RATE);
    expect_only(
        &agent,
        "players",
        &[("redirected", 4 * RATE), ("delivered", 4 * RATE)],
    );
}

/// Both sources send at once; returns how many of each arrived, and how long it took.
fn two_sources(per: &str, packets: u64) -> [(u64, Duration); 2] {
    let (world, pod) = world("Redirect", per);
    let sources = sources(&world);
    let agent = world.start(&["server"]);
    let to = at(pod.v4(), 7777);
    let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
    let client: &Namespace = &world.client;
    let took = thread::scope(|scope| {
        let run = |source| {
            scope.spawn(move || {
                let mut sender = UdpSender::from(client, at(source, 0), to).unwrap();
                flood(&mut sender, packets, 5000)
            })
        };
        sources.map(run).map(|thread| thread.join().unwrap())
    });
    settle(&agent, &inbox, 2 * packets, "redirected");
    let received = inbox.received();
    let of = |index: usize| {
        (
            received.sources.get(&sources[index]).copied().unwrap_or(0),
            took[index],
        )
    };
    [of(0), of(1)]
}

#[test]
fn of_two_sources_each_gets_its_own_limit() {
    for (received, took) in two_sources("Source", 10_000) {
        is_due(received, took);
    }
}

#[test]
fn two_sources_share_the_limit_of_their_rule() {
    let [(first, took), (second, other)] = two_sources("Rule", 10_000);
    is_due(first + second, took.max(other));
    assert!(first > 0 && second > 0);
}
