//! The agent is killed, stopped and started again without loss of packets.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    programs::{
        Xdp,
        links::{FdLink, PinnedLink},
        xdp::XdpLink,
    },
};
use xdp_e2e::{Agent, Status};
use xdp_lab::{LabPod, Namespace, NicSpec, Style, UdpReceiver, UdpSender, wait_until};

use crate::{
    chance::Chance,
    fixture::{Fixture, PATIENCE, at, expect_counts},
    flow::{Flow, Traffic},
};

const ENOUGH: u64 = 100_000;

static OTHER: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-e2e-ebpf"));

/// A client that sends all the time to a pod whose policy sets a mark.
struct Players {
    traffic: Traffic,
    flow: u32,
    receiver: Arc<UdpReceiver>,
}

impl Players {
    fn begin(client: &Namespace, pod: &LabPod) -> Self {
        let to = at(pod.v4(), 7777);
        let receiver = Arc::new(UdpReceiver::bind(&pod.ns, to).unwrap());
        let sender = UdpSender::new(client, to).unwrap();
        let traffic = Traffic::new();
        let flow = traffic.add(Flow::new(sender, &receiver));
        Self {
            traffic,
            flow,
            receiver,
        }
    }

    fn more(&self, packets: u64) {
        self.traffic.more(self.flow, packets);
    }

    fn see(&self, mark: u32) {
        wait_until(&format!("mark {mark} arrives"), PATIENCE, || {
            self.receiver.received().marks.contains_key(&mark)
        })
        .unwrap();
    }

    /// Ends the traffic, and checks that everything has arrived once. Returns the number of packets, and the
    /// numbers by mark.
    fn end(&self) -> (u64, BTreeMap<u32, u64>) {
        let sent = self.traffic.end(self.flow);
        let received = self.receiver.received();
        let stream = &received.streams[&self.flow];
        let lost = stream.lost(sent);
        println!(
            "sent {sent}, received {}, lost {lost}, marks {:?}",
            received.packets, received.marks
        );
        assert_eq!((lost, stream.duplicates, received.overflowed), (0, 0, 0));
        assert_eq!(received.packets, sent);
        (sent, received.marks)
    }
}

fn server() -> (Fixture, LabPod) {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    mark(&fixture, 42);
    (fixture, pod)
}

fn mark(fixture: &Fixture, mark: u32) {
    let rule =
        format!("{{name: players, ports: [{{protocol: UDP, port: 7777}}], action: Redirect, mark: {mark}}}");
    fixture.policy("players", &[&rule]);
}

/// Values that a restart must not change: the program on the NIC, and slot and generation of the pod.
fn identity(status: &Status) -> [Option<u64>; 3] {
    let pod = status.pod("server");
    let field = |name: &str| pod.and_then(|pod| pod[name].as_u64());
    [status.program_id("nic0"), field("slot"), field("generation")]
}

/// Waits until a reconcile that begins from now on is complete: it reports an invalid file.
fn wait_for_reconcile(fixture: &Fixture, agent: &Agent<'_>) -> Status {
    fixture.manifests.write("probe.yaml", "kind: [").unwrap();
    let reported = |status: &Status| {
        let problems = status.json()["problems"].as_array();
        problems.is_some_and(|problems| {
            problems
                .iter()
                .any(|problem| problem.to_string().contains("probe.yaml"))
        })
    };
    agent.wait_for("the agent runs and has read the folder", |status| {
        status.running() && reported(status)
    });
    fixture.manifests.remove("probe.yaml").unwrap();
    agent.wait_for("the agent has read the folder again", |status| !reported(status))
}

fn nothing_is_lost(end: impl Fn(&mut Agent<'_>)) {
    let (fixture, pod) = server();
    let mut agent = fixture.start(&["server"]);
    let before = identity(&agent.look());
    let players = Players::begin(&fixture.client, &pod);
    for _ in 0..3 {
        players.more(5_000);
        end(&mut agent);
        assert!(!agent.look().running());
        players.more(15_000);
        agent.start().unwrap();
        assert_eq!(identity(&wait_for_reconcile(&fixture, &agent)), before);
    }
    players.more(ENOUGH.saturating_sub(players.traffic.sent(players.flow)));
    let (sent, marks) = players.end();
    assert!(sent >= ENOUGH);
    assert_eq!(marks, BTreeMap::from([(42, sent)]));
    expect_counts(&agent, "players", [sent, sent, 0, 0, 0, 0]);
}

#[test]
fn no_packet_is_lost_or_unmarked_over_kills_and_restarts() {
    nothing_is_lost(|agent| agent.kill().unwrap());
}

#[test]
fn no_packet_is_lost_or_unmarked_over_stops_and_restarts() {
    nothing_is_lost(|agent| agent.stop().unwrap());
}

#[test]
fn a_policy_changed_while_no_agent_ran_is_applied_without_loss() {
    let (fixture, pod) = server();
    let mut agent = fixture.start(&["server"]);
    let players = Players::begin(&fixture.client, &pod);
    players.more(1_000);
    agent.kill().unwrap();
    mark(&fixture, 43);
    players.more(1_000);
    assert_eq!(
        players.receiver.received().marks.keys().collect::<Vec<_>>(),
        [&42]
    );
    agent.start().unwrap();
    players.see(43);
    players.more(1_000);
    let (sent, marks) = players.end();
    assert_eq!(marks.keys().collect::<Vec<_>>(), [&42, &43]);
    assert_eq!(marks.values().sum::<u64>(), sent);
}

#[test]
fn kills_in_the_middle_of_changes_leave_every_packet_one_of_the_two_marks() {
    const KILLS: u32 = 40;
    let mut chance = Chance::new();
    let (fixture, pod) = server();
    let mut agent = fixture.start(&["server"]);
    let players = Players::begin(&fixture.client, &pod);
    agent.kill().unwrap();
    let began = Instant::now();
    agent.start().unwrap();
    wait_for_reconcile(&fixture, &agent);
    // Some kills come before the reconcile is complete, some after it, however busy the machine is.
    let longest = (2 * began.elapsed().as_millis() as u64).min(1_000);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for next in (41..=42).cycle() {
                mark(&fixture, next);
                thread::sleep(Duration::from_millis(7));
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..KILLS {
            // The time of the kill is random.
            thread::sleep(Duration::from_millis(chance.below(longest)));
            agent.kill().unwrap();
            agent.start().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    mark(&fixture, 43);
    players.see(43);
    let before = players.receiver.received().marks;
    println!("{KILLS} kills, {before:?}");
    wait_for_reconcile(&fixture, &agent);
    players.more(1_000);
    let (sent, marks) = players.end();
    assert!(marks.keys().all(|mark| (41..=43).contains(mark)), "{marks:?}");
    assert_eq!(marks.values().sum::<u64>(), sent);
}

/// A program of the kernel tests takes the place of another version. It passes all packets of this client.
#[test]
fn another_version_of_the_program_is_replaced_without_loss() {
    let (fixture, pod) = server();
    let client = fixture.lab.namespace("other-client").unwrap();
    let nic = fixture.lab.nic(NicSpec::new("nic1", &client)).unwrap();
    let mut agent = fixture.start(&["server"]);
    let own = agent.look().program_id("nic1");
    let players = Players::begin(&client, &pod);
    players.more(1_000);
    agent.kill().unwrap();

    let pin = fixture.pins().join(format!("links/nic-{}", nic.ifindex));
    let other = replace_program(&pin);
    assert_eq!(agent.look().program_id("nic1"), Some(other));
    players.see(0);

    agent.start().unwrap();
    let status = agent.wait_for("the agent's program is attached again", |status| {
        status.program_id("nic1").is_some_and(|id| id != other)
    });
    assert_eq!(status.nic_mode("nic1"), Some("Native"));
    println!("{own:?}, then {other}, then {:?}", status.program_id("nic1"));
    // Packets in flight were processed by the other program.
    players.more(100);
    let unmarked = players.receiver.received().marks[&0];
    players.more(1_000);
    let (_, marks) = players.end();
    assert_eq!(marks[&0], unmarked, "{marks:?}");
    assert_eq!(marks.keys().collect::<Vec<_>>(), [&0, &42]);
}

/// Replaces the link's program, and returns the id of the new one.
fn replace_program(pin: &Path) -> u64 {
    let mut ebpf = Ebpf::load(OTHER).unwrap();
    let program: &mut Xdp = ebpf.program_mut("act").unwrap().try_into().unwrap();
    program.load().unwrap();
    let link = FdLink::from(PinnedLink::from_pin(pin).unwrap());
    let link = program.attach_to_link(XdpLink::try_from(link).unwrap()).unwrap();
    // Drop only closes it: the pin keeps the link.
    drop(program.take_link(link).unwrap());
    program.info().unwrap().id().into()
}
