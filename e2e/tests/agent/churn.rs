//! A hundred pods are created, readdressed and deleted in random order, while the client sends to all of
//! them.

use std::{fs, sync::Arc, time::Instant};

use ipnet::{IpNet, Ipv4Net};
use xdp_e2e::{Agent, Status};
use xdp_lab::{LabPod, LabPodSpec, Style, UdpReceiver, UdpSender, wait_until};

use crate::{
    chance::Chance,
    fixture::{Fixture, PATIENCE, at},
    flow::{Flow, Traffic},
    moving::{accept_all_addresses, leads, object, route_all_addresses},
};

mod remains;

use self::remains::remains;

const PODS: usize = 100;
/// The limit of pods at a time, and fewer addresses than pods: addresses are reused.
const ALIVE: usize = 40;
const ADDRESSES: u8 = 60;
/// The number of changes between two checks of the status.
const BATCH: u64 = 8;
/// Marks by app; the last has no policy.
const APPS: [(&str, u32); 3] = [("a", 1), ("b", 2), ("plain", 0)];
const PLAIN: usize = 2;

/// A live pod, and the flows to it.
struct Live {
    name: String,
    app: usize,
    number: u8,
    pod: LabPod,
    receiver: Arc<UdpReceiver>,
    /// All flows that were ever sent to it: no other may arrive.
    flows: Vec<u32>,
    active: bool,
    /// Its object got a new address before its interface did. Meanwhile no rules matched the old address,
    /// and packets to it passed.
    object_moved_first: bool,
}

struct Churn<'a> {
    fixture: &'a Fixture,
    chance: Chance,
    traffic: Traffic,
    live: Vec<Live>,
    free: Vec<u8>,
    created: usize,
    moved: usize,
    sent: u64,
    steps: usize,
    /// Flows that continue while their address moves, and those addresses.
    blind: Vec<u32>,
    leaving: Vec<u8>,
}

impl<'a> Churn<'a> {
    fn new(fixture: &'a Fixture) -> Self {
        Self {
            fixture,
            chance: Chance::new(),
            traffic: Traffic::new(),
            live: Vec::new(),
            free: (10..10 + ADDRESSES).collect(),
            created: 0,
            moved: 0,
            sent: 0,
            steps: 0,
            blind: Vec::new(),
            leaving: Vec::new(),
        }
    }

    fn over(&self) -> bool {
        self.created == PODS && self.live.is_empty()
    }

    /// Makes several changes, waits until the status matches the objects, and sends to all changed pods.
    fn step(&mut self, agent: &Agent<'_>) {
        let mut changed = Vec::new();
        for _ in 0..=self.chance.below(BATCH) {
            let room = !self.free.is_empty();
            let create = room && self.created < PODS && self.live.len() < ALIVE;
            // Keep half of the pods alive until all were created.
            let delete = self.live.len() > if self.created == PODS { 0 } else { ALIVE / 2 };
            match self.chance.below(5) {
                2 if room && !self.live.is_empty() => changed.push(self.readdress()),
                3 | 4 if delete => self.delete(),
                _ if create => changed.push(self.create()),
                _ => {}
            }
        }
        agent.wait_for("the status matches the objects", |status| self.holds(status));
        for flow in self.blind.drain(..) {
            self.traffic.end(flow);
        }
        self.free.append(&mut self.leaving);
        for name in changed {
            self.send_to(&name);
        }
        self.steps += 1;
    }

    fn create(&mut self) -> String {
        let app = self.chance.below(APPS.len() as u64) as usize;
        let number = self.chance.take(&mut self.free);
        let name = format!("pod-{}", self.created);
        self.created += 1;
        let spec = LabPodSpec::new(&name, Style::Ptp).v4(Ipv4Net::new_assert([10, 2, 0, number].into(), 32));
        // In a cluster, the agent may see the object or the interface first.
        let early = self.chance.below(2) == 0;
        if early {
            object(self.fixture, &name, APPS[app].0, number);
        }
        let pod = self.fixture.lab.pod(&spec).unwrap();
        if !early {
            object(self.fixture, &name, APPS[app].0, number);
        }
        accept_all_addresses(&pod.ns);
        let any = at(std::net::Ipv4Addr::UNSPECIFIED.into(), 7777);
        let receiver = Arc::new(UdpReceiver::bind(&pod.ns, any).unwrap());
        self.live.push(Live {
            name: name.clone(),
            app,
            number,
            pod,
            receiver,
            flows: Vec::new(),
            active: false,
            object_moved_first: false,
        });
        name
    }

    fn readdress(&mut self) -> String {
        let mut live = self.chance.take(&mut self.live);
        self.cut_off(&mut live);
        let number = self.chance.take(&mut self.free);
        live.number = number;
        let net: IpNet = Ipv4Net::new_assert([10, 2, 0, number].into(), 32).into();
        if self.chance.below(2) == 0 {
            live.object_moved_first = true;
            object(self.fixture, &live.name, APPS[live.app].0, number);
            live.pod.set_addresses(&[net]).unwrap();
        } else {
            live.pod.set_addresses(&[net]).unwrap();
            object(self.fixture, &live.name, APPS[live.app].0, number);
        }
        self.moved += 1;
        let name = live.name.clone();
        self.live.push(live);
        name
    }

    fn delete(&mut self) {
        let mut live = self.chance.take(&mut self.live);
        self.cut_off(&mut live);
        live.check();
        let file = format!("{}.yaml", live.name);
        let object_first = self.chance.below(2) == 0;
        if object_first {
            self.fixture.manifests.remove(&file).unwrap();
        }
        live.pod.remove().unwrap();
        if !object_first {
            self.fixture.manifests.remove(&file).unwrap();
        }
    }

    fn send_to(&mut self, name: &str) {
        // It may be deleted already, or changed twice.
        let found = self
            .live
            .iter_mut()
            .find(|live| live.name == name && !live.active);
        let Some(live) = found else { return };
        let to = at([10, 2, 0, live.number].into(), 7777);
        let sender = UdpSender::new(&self.fixture.client, to).unwrap();
        let flow = self.traffic.add(Flow::new(sender, &live.receiver));
        live.flows.push(flow);
        live.active = true;
    }

    /// Checks that everything sent so far has arrived. The sender continues, because it does not know of the
    /// change.
    fn cut_off(&mut self, live: &mut Live) {
        self.leaving.push(live.number);
        if !std::mem::take(&mut live.active) {
            return;
        }
        let flow = *live.flows.last().unwrap();
        let sent = self.traffic.blind(flow);
        assert_eq!(live.receiver.stream(flow).missing(sent), [], "{}", live.name);
        self.sent += sent;
        self.blind.push(flow);
    }

    fn holds(&self, status: &Status) -> bool {
        let shown = status.json()["pods"].as_array().map_or(0, Vec::len);
        let targets = self.live.iter().filter(|live| live.app != PLAIN);
        shown == targets.clone().count()
            && targets
                .clone()
                .all(|live| leads(status, &live.name, &live.pod, &format!("10.2.0.{}", live.number)))
    }
}

impl Live {
    /// Checks that no packet for another pod arrived, and none with another policy's mark.
    fn check(&self) {
        let received = self.receiver.received();
        let misdelivered: Vec<_> = received
            .streams
            .keys()
            .filter(|flow| !self.flows.contains(flow))
            .collect();
        assert!(misdelivered.is_empty(), "{}: {misdelivered:?}", self.name);
        let mark = APPS[self.app].1;
        let is_other = |seen: u32| seen != mark && !(seen == 0 && self.object_moved_first);
        let others: Vec<_> = received
            .marks
            .iter()
            .filter(|(seen, _)| is_other(**seen))
            .collect();
        assert!(
            others.is_empty(),
            "{} of {:?}: {others:?}",
            self.name,
            APPS[self.app]
        );
        assert_eq!((received.foreign, received.overflowed), (0, 0), "{}", self.name);
    }
}

/// Finds the agent's process by the lab's folder in its command line.
fn process(fixture: &Fixture) -> u32 {
    let manifests = fixture.manifests.folder().as_os_str().as_encoded_bytes();
    let processes = fs::read_dir("/proc").unwrap();
    let mut ids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_agent = |id: &u32| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == manifests)
    };
    ids.find(is_agent).unwrap()
}

/// The resources of the agent's process: resident memory in KiB, open descriptors.
fn held(fixture: &Fixture) -> (u64, usize) {
    let id = process(fixture);
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    (kib, fs::read_dir(format!("/proc/{id}/fd")).unwrap().count())
}

#[test]
fn a_hundred_pods_come_and_go_and_each_packet_reaches_exactly_its_pod() {
    let fixture = Fixture::new();
    for (app, mark) in &APPS[..PLAIN] {
        let rule = format!("{{name: {app}, action: Redirect, mark: {mark}}}");
        fixture.policy_with(
            app,
            &format!("podSelector: {{matchLabels: {{app: {app}}}}}"),
            &[&rule],
        );
    }
    route_all_addresses(&fixture);
    let agent = fixture.start(&[]);
    let before = held(&fixture);
    let began = Instant::now();
    let mut churn = Churn::new(&fixture);
    let mut most = before;
    while !churn.over() {
        churn.step(&agent);
        let now = held(&fixture);
        most = (most.0.max(now.0), most.1.max(now.1));
    }
    println!(
        "{PODS} pods, {} new addresses, {} steps, {} packets, lost 0, {:?}; RSS and descriptors {before:?}, at most {most:?}",
        churn.moved,
        churn.steps,
        churn.sent,
        began.elapsed()
    );
    // The last packets reached the last pods: one more reconcile purges their entries.
    fixture.manifests.write("nothing.yaml", "").unwrap();
    let gone = wait_until("nothing remains", PATIENCE, || remains(&fixture).is_empty());
    assert!(gone.is_ok(), "{:?}", remains(&fixture));
    let none = |status: &Status, list: &str| status.json()[list].as_array().is_some_and(Vec::is_empty);
    let status = agent.wait_for("no pod and no problem is left", |status| {
        none(status, "pods") && none(status, "problems")
    });
    // The policies still exist, and select no pod.
    assert!(none(&status, "rules"), "{status:?}");
    let closed = wait_until("descriptors are closed", PATIENCE, || {
        held(&fixture).1 <= before.1 + 2
    });
    assert!(closed.is_ok(), "{:?}", held(&fixture));
    assert!(most.0 < before.0 + 20_000, "{most:?}");
}
