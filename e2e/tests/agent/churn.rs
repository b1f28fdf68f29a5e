//! A hundred pods come, change their address and go, in random order, while somebody sends to all of them.

use std::{fs, sync::Arc, time::Instant};

use ipnet::{IpNet, Ipv4Net};
use xdp_e2e::{Agent, Status};
use xdp_lab::{Pod, PodSpec, Style, UdpReceiver, UdpSender, wait_until};

use crate::{
    chance::Chance,
    fixture::{Fixture, PATIENCE, at},
    flow::{Flow, Traffic},
    moving::{keeps_the_way, leads, object, takes_everything},
};

mod remains;

use self::remains::remains;

const PODS: usize = 100;
/// At most so many at once, of fewer addresses than there are pods: addresses are used again and again.
const ALIVE: usize = 40;
const ADDRESSES: u8 = 60;
/// What happens before the test looks at the status again.
const BATCH: u64 = 8;
/// Marks by app; the last has no policy.
const APPS: [(&str, u32); 3] = [("a", 1), ("b", 2), ("plain", 0)];
const PLAIN: usize = 2;

/// A pod that is there, and who sends to it.
struct Live {
    name: String,
    app: usize,
    number: u8,
    pod: Pod,
    receiver: Arc<UdpReceiver>,
    /// All that ever sent to it: nothing else may arrive.
    flows: Vec<u32>,
    active: bool,
    /// Its object has said a new address before it had it. Meanwhile nobody's rules were about the old one, and packets to
    /// it only passed.
    announced: bool,
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
    /// Flows that sent on while their address was on its way, and those addresses.
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

    /// Some changes at once; then everything is as the objects say, and everybody is sent to.
    fn step(&mut self, agent: &Agent<'_>) {
        let mut changed = Vec::new();
        for _ in 0..=self.chance.below(BATCH) {
            let room = !self.free.is_empty();
            let create = room && self.created < PODS && self.live.len() < ALIVE;
            // More go than come only when all have come.
            let delete = self.live.len() > if self.created == PODS { 0 } else { ALIVE / 2 };
            match self.chance.below(5) {
                2 if room && !self.live.is_empty() => changed.push(self.readdress()),
                3 | 4 if delete => self.delete(),
                _ if create => changed.push(self.create()),
                _ => {}
            }
        }
        agent.wait_for("the status is what the objects say", |status| self.holds(status));
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
        let spec = PodSpec::new(&name, Style::Ptp).v4(Ipv4Net::new_assert([10, 2, 0, number].into(), 32));
        // In a cluster, either may be known first.
        let early = self.chance.below(2) == 0;
        if early {
            object(self.fixture, &name, APPS[app].0, number);
        }
        let pod = self.fixture.lab.pod(&spec).unwrap();
        if !early {
            object(self.fixture, &name, APPS[app].0, number);
        }
        takes_everything(&pod.ns);
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
            announced: false,
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
            live.announced = true;
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
        live.judge();
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
        // It may have gone again, or have changed twice.
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

    /// What was sent until now has arrived. The sender does not know of the change and sends on.
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
    /// Nothing came that was for somebody else, and nothing that met somebody else's policy.
    fn judge(&self) {
        let received = self.receiver.received();
        let strangers: Vec<_> = received
            .streams
            .keys()
            .filter(|flow| !self.flows.contains(flow))
            .collect();
        assert!(strangers.is_empty(), "{}: {strangers:?}", self.name);
        let mark = APPS[self.app].1;
        let is_other = |seen: u32| seen != mark && !(seen == 0 && self.announced);
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

/// The agent's process id: the one whose command line names the lab's folder.
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

/// What the agent's process holds: resident memory in KiB, open descriptors.
fn held(fixture: &Fixture) -> (u64, usize) {
    let id = process(fixture);
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    (kib, fs::read_dir(format!("/proc/{id}/fd")).unwrap().count())
}

#[test]
fn a_hundred_pods_come_and_go_and_nobody_gets_or_misses_anything() {
    let fixture = Fixture::new();
    for (app, mark) in &APPS[..PLAIN] {
        let rule = format!("{{name: {app}, action: Redirect, mark: {mark}}}");
        fixture.policy_with(
            app,
            &format!("podSelector: {{matchLabels: {{app: {app}}}}}"),
            &[&rule],
        );
    }
    keeps_the_way(&fixture);
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
    // The last packets met the last pods: one more round looks after what they left.
    fixture.manifests.write("nothing.yaml", "").unwrap();
    let gone = wait_until("nothing remains", PATIENCE, || remains(&fixture).is_empty());
    assert!(gone.is_ok(), "{:?}", remains(&fixture));
    let none = |status: &Status, list: &str| status.json()[list].as_array().is_some_and(Vec::is_empty);
    let status = agent.wait_for("no pod and no problem is left", |status| {
        none(status, "pods") && none(status, "problems")
    });
    // The policies are there still, with a rule each.
    let rules = status.json()["rules"].as_array().map(Vec::len);
    assert_eq!(rules, Some(PLAIN), "{status:?}");
    let closed = wait_until("descriptors are closed", PATIENCE, || {
        held(&fixture).1 <= before.1 + 2
    });
    assert!(closed.is_ok(), "{:?}", held(&fixture));
    assert!(most.0 < before.0 + 20_000, "{most:?}");
}
