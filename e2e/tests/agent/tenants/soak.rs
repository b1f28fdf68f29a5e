//! A hostile tenant does what it can, at random: the other one's rules, packets and changes do not notice.
//! `MINUTES=60 make soak-tenant` does it for an hour.

use std::{
    env, fs,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use xdp_e2e::{Agent, IdleConnections, METRICS_PORT, installed::http_get_within};
use xdp_lab::{LabPod, RawSocket, Style, UdpReceiver, UdpSender};

use super::{CLOSED, PORT, attacker, hostile_file, networks, programming};
use crate::{
    chance::Chance,
    fixture::{Fixture, IN_FLIGHT, PATIENCE, PLAYERS, all_arrive, at},
    frames::{on_wire, udp},
};

/// Time for a change of the victim, on a machine that is busy with the attack itself.
const LATEST: Duration = Duration::from_secs(10);
/// Resident memory of the agent, in MiB. The chart's limit is 512, of which the kernel's tables take some 75.
const MEMORY: u64 = 200;
/// Files with policies of the attacker at a time.
const FILES: u64 = 4;
/// Datagrams of each kind in each step.
const DATAGRAMS: u64 = 20;
/// The source address in a frame without tags.
const SOURCE: std::ops::Range<usize> = 26..30;

struct Soak<'a> {
    fixture: &'a Fixture,
    agent: Agent<'a>,
    chance: Chance,
    hostile: LabPod,
    victim: LabPod,
    inbox: UdpReceiver,
    closed: UdpReceiver,
    sender: UdpSender,
    idle: Option<IdleConnections>,
    seen: Seen,
}

/// What the victim saw.
#[derive(Debug, Default)]
struct Seen {
    steps: u64,
    redirected: u64,
    dropped: u64,
    changes: u64,
    slowest: Duration,
    /// MiB.
    memory: u64,
}

#[test]
fn a_random_tenant_costs_another_one_neither_rules_nor_packets_nor_time() {
    let minutes = env::var("MINUTES").ok().and_then(|minutes| minutes.parse().ok());
    let end = Instant::now() + Duration::from_secs_f64(60.0 * minutes.unwrap_or(1.0));
    let fixture = Fixture::new();
    let victim = fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[CLOSED, PLAYERS]);
    fixture.nic.make_gateway().unwrap();
    let mut soak = Soak::start(&fixture, victim);
    while Instant::now() < end {
        soak.attack();
        soak.look();
    }
    println!("{:?}", soak.seen);
    assert!(soak.seen.changes > 0);
    assert!(soak.seen.slowest <= LATEST, "{:?}", soak.seen);
    assert!(soak.seen.memory <= MEMORY, "{:?}", soak.seen);
    assert_eq!(soak.agent.ended().unwrap(), None, "it never restarted");
}

impl<'a> Soak<'a> {
    fn start(fixture: &'a Fixture, victim: LabPod) -> Self {
        let mut agent = Agent::new(&fixture.lab, &fixture.manifests).listens_to_all();
        agent.start().unwrap();
        agent.wait_for("the victim is ready", |status| status.ready("server"));
        Self {
            agent,
            chance: Chance::new(),
            hostile: attacker(fixture),
            inbox: UdpReceiver::bind(&victim.ns, at(victim.v4(), 7777)).unwrap(),
            closed: UdpReceiver::bind(&victim.ns, at(victim.v4(), PORT)).unwrap(),
            sender: UdpSender::new(&fixture.client, at(victim.v4(), 7777)).unwrap(),
            idle: None,
            seen: Seen::default(),
            fixture,
            victim,
        }
    }

    fn attack(&mut self) {
        match self.chance.below(7) {
            0 | 1 => self.write_policies(),
            2 => {
                let file = format!("hostile-{}.yaml", self.file());
                // There may be none of this name.
                let _ = self.fixture.manifests.remove(&file);
            }
            3 => self.change_addresses(),
            4 => self.flood(),
            5 => self.connect(),
            _ => {
                // Its pod goes and comes back.
                self.fixture.manifests.remove("attacker.yaml").unwrap();
                super::write_attacker(self.fixture, &self.hostile);
            }
        }
    }

    fn file(&mut self) -> String {
        format!("f{}-", self.chance.below(FILES))
    }

    fn write_policies(&mut self) {
        let size = (
            1 + self.chance.below(120) as usize,
            1 + self.chance.below(100) as usize,
        );
        let name = self.file();
        let selector = [
            "{}",
            "{matchLabels: {app: attacker}}",
            "{matchLabels: {app: nothing}}",
        ];
        let selector = selector[self.chance.below(3) as usize];
        let write = |size, from: &mut dyn FnMut() -> String| {
            hostile_file(self.fixture, &name, selector, size, from);
        };
        match self.chance.below(3) {
            0 => write(size, &mut String::new),
            1 => write((size.0.div_ceil(4), size.1.div_ceil(2)), &mut networks()),
            _ => {
                let mut port = 0;
                let mut ports = || {
                    port = (port + 2) % 60_000;
                    format!("ports: [{{protocol: UDP, port: {}}}], ", port + 1)
                };
                write(size, &mut ports);
            }
        }
    }

    /// Its pod takes the victim's address, and others.
    fn change_addresses(&mut self) {
        let change = ["add", "del"][self.chance.below(2) as usize];
        let own = format!("10.2.0.{}/32", 5 + self.chance.below(60));
        let mut command = Command::new("ip");
        command.args(["addr", change, &own, "dev", "eth0"]);
        let finished = self.hostile.ns.spawn(command).unwrap().finish(PATIENCE);
        // An address that is there, or is not, cannot be added or removed.
        let _ = finished.unwrap();
    }

    /// Datagrams with forged sources to its pod.
    fn flood(&mut self) {
        let nic = &self.fixture.nic;
        let wire = RawSocket::sender(&self.fixture.client, &nic.wire).unwrap();
        let mut frame = on_wire(nic, &[], &udp(nic.client_v4, self.hostile.v4(), 7777, b"flood"));
        for _ in 0..5_000 {
            let source = 0x0b00_0000 + self.chance.below(1 << 24) as u32;
            frame[SOURCE].copy_from_slice(&source.to_be_bytes());
            wire.send(&frame).unwrap();
        }
    }

    /// Connections that send nothing, and a scrape meanwhile.
    fn connect(&mut self) {
        let server = SocketAddr::new(self.fixture.nic.v4, METRICS_PORT);
        self.idle = match self.idle.take() {
            Some(_) => None,
            None => Some(IdleConnections::open(&self.fixture.client, server, 300).unwrap()),
        };
        let reply = http_get_within(self.fixture.lab.node(), server, "/metrics", PATIENCE).unwrap();
        assert_eq!(reply.status, 200);
    }

    /// What the victim notices.
    fn look(&mut self) {
        self.seen.steps += 1;
        let sent = self.sender.sent() + DATAGRAMS;
        all_arrive(&mut self.sender, &self.inbox, sent, IN_FLIGHT);
        self.seen.redirected = sent;
        let closed = at(self.victim.v4(), PORT);
        let mut sender = UdpSender::new(&self.fixture.client, closed).unwrap();
        sender.send(DATAGRAMS).unwrap();
        self.seen.dropped += DATAGRAMS;
        let dropped = self.seen.dropped;
        self.agent
            .wait_for("the packets are dropped and counted", |status| {
                status.packets("closed", "dropped") == dropped
            });
        assert_eq!(self.closed.received().packets, 0);
        let name = format!("urgent{}", self.seen.steps % 2);
        self.seen.slowest = self
            .seen
            .slowest
            .max(programming(self.fixture, &self.agent, &name));
        self.fixture.manifests.remove(&format!("{name}.yaml")).unwrap();
        self.agent
            .wait_for("the rule is gone", |status| !status.has_rule(&name));
        self.seen.changes += 2;
        let id = self.agent.pid().unwrap();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        let kib: u64 = resident.trim_end_matches("kB").trim().parse().unwrap();
        self.seen.memory = self.seen.memory.max(kib >> 10);
    }
}
