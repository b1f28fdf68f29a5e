//! The programs of the reply path and the NIC's, over the same tables: what becomes of packets, and what is
//! noted.

mod attached;
mod begin;
mod drain;
mod errors;
mod fragments;
mod own;
mod peer;
mod routes;
mod sender;
mod shares;
mod sources;
mod tags;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use xdp_agent::{
    datapath::{ClassifierRun, Datapath, FlowTable, Settings, TestRunResult, TestSkb},
    testing::HostAndPod,
};
use xdp_core::{
    events::{Fallback, FlowEvent, ForeignFrame},
    tables::{Receiver, Station},
    testing::wire::{ACK, SYN, WirePacket, WireProtocol},
};
use xdp_plan::{desired::Desired, hook::Hook, owners::Owners};

use crate::{
    attach::ifindex,
    bpffs::Bpffs,
    judge::{XDP_PASS, XDP_REDIRECT},
    node::{desired, pod, policy, program},
};

const TCX_NEXT: i32 = -1;
const TCX_REDIRECT: i32 = 7;

const POD: &str = "server-0";
const REDIRECT: &str = "{name: all, action: Redirect}";
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const DATA: u8 = 0;

/// What opens a connection, what the pod answers, and what follows.
const CONNECTIONS: [[WireProtocol; 3]; 2] = [
    [
        WireProtocol::Tcp(SYN),
        WireProtocol::Tcp(SYN | ACK),
        WireProtocol::Tcp(ACK),
    ],
    [
        WireProtocol::Sctp(INIT),
        WireProtocol::Sctp(INIT_ACK),
        WireProtocol::Sctp(DATA),
    ],
];
const DATAGRAMS: [WireProtocol; 2] = [WireProtocol::Udp, WireProtocol::Echo];

/// Raw packets of both families, and such with more headers. Those with IPv4 options take the stack.
fn shapes() -> impl Iterator<Item = fn(WireProtocol) -> WirePacket> {
    let shapes: [fn(WireProtocol) -> WirePacket; 3] = [
        |protocol| WirePacket::new(false, protocol),
        |protocol| WirePacket::new(true, protocol),
        |protocol| WirePacket::new(true, protocol).longer_by(3),
    ];
    shapes.into_iter()
}

/// A pod of both families, and these rules for it.
fn wanted(rules: &[&str]) -> Desired {
    desired(&(pod(POD, &["10.0.0.2", "2001:db8::2"]) + &policy("players", POD, rules)))
}

/// A node with that pod and a NIC.
struct Node {
    datapath: Datapath,
    fixture: HostAndPod,
    host: u32,
    settings: Settings,
    bpffs: Bpffs,
}

impl Node {
    fn new(rules: &[&str]) -> Self {
        Self::with(&wanted(rules))
    }

    fn with(desired: &Desired) -> Self {
        let mut node = Self::open(Settings::default());
        node.install(desired);
        node
    }

    fn open(settings: Settings) -> Self {
        let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
        for arguments in [
            "link add nic0 type veth peer name wire0",
            "link set nic0 addrgenmode none",
            "link set wire0 addrgenmode none",
            "link set nic0 up",
            "link set wire0 up",
            "addr add 10.0.0.1/24 dev nic0",
            "addr add 2001:db8::1/64 dev nic0 nodad",
            "route add 10.0.0.2/32 dev host0",
            "route add 2001:db8::2/128 dev host0",
        ] {
            fixture.host.ip(arguments);
        }
        fixture.host.run(|| {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        });
        let host = ifindex(&fixture, "host0");
        Self {
            datapath: Datapath::open_with(&bpffs.pin_dir(), settings).unwrap(),
            fixture,
            host,
            settings,
            bpffs,
        }
    }

    /// Replaces the agent by another one.
    fn restart(&mut self) {
        // Only one may hold the directory.
        let elsewhere = Bpffs::new();
        self.datapath = Datapath::open(&elsewhere.pin_dir()).unwrap();
        self.datapath = Datapath::open_with(&self.bpffs.pin_dir(), self.settings).unwrap();
    }

    fn install(&mut self, desired: &Desired) {
        let Self {
            datapath,
            fixture,
            host,
            ..
        } = self;
        let mut desired = desired.clone();
        let stations = &mut desired.stations.get_or_insert_default().stations;
        stations.insert(Station::outlet(ifindex(fixture, "nic0")), Receiver::default());
        for pod in &mut desired.pods {
            pod.identity.ifindex = *host;
        }
        fixture.host.run(|| program(datapath, &desired));
    }

    /// Forgets all flows.
    fn forget(&mut self) {
        let forgotten = self
            .datapath
            .purge_flows(&Owners::default(), &BTreeSet::new(), false);
        forgotten.unwrap();
        assert_eq!(self.entries(), [0, 0, 0]);
    }

    /// What happens to flows meanwhile.
    fn noted<T>(&self, what: impl FnOnce() -> T) -> (T, Vec<&'static str>) {
        let names = FlowEvent::ALL.map(|event| (event.code(), event.name()));
        let reasons = Fallback::ALL.map(|reason| (reason.code(), reason.name()));
        let foreign = ForeignFrame::ALL.map(|reason| (reason.code(), reason.name()));
        let events = || {
            let events = self.datapath.pinned().events().unwrap();
            let packets = events.into_iter().map(|(code, count)| (code, count.packets));
            packets.collect::<BTreeMap<u32, u64>>()
        };
        let before = events();
        let done = what();
        let after = events();
        let grown =
            |(code, name): &(u32, &'static str)| (after.get(code) > before.get(code)).then_some(*name);
        let noted = names
            .iter()
            .chain(&reasons)
            .chain(&foreign)
            .filter_map(grown)
            .collect();
        (done, noted)
    }

    fn xdp(&self, frame: &[u8]) -> (TestRunResult, Vec<&'static str>) {
        self.noted(|| self.datapath.test_run(frame).unwrap())
    }

    fn hook(&self, hook: Hook, skb: TestSkb<'_>) -> (ClassifierRun, Vec<&'static str>) {
        self.noted(|| {
            self.fixture
                .host
                .run(|| self.datapath.test_run_hook(hook, skb).unwrap())
        })
    }

    fn at_pod<'f>(&self, frame: &'f [u8]) -> TestSkb<'f> {
        TestSkb {
            frame,
            ifindex: self.host,
            came_from: self.host,
            ..TestSkb::default()
        }
    }

    /// A packet to the pod arrives, and its rule redirects it, or what is noted says why not.
    #[track_caller]
    fn arrives(&self, wire: &WirePacket, redirected: bool, expected: &[&str]) {
        let (ran, noted) = self.xdp(&wire.frame());
        let action = if redirected { XDP_REDIRECT } else { XDP_PASS };
        assert_eq!((ran.action, noted.as_slice()), (action, expected), "{wire:?}");
    }

    /// The pod sends a packet, and it leaves past the stack or not.
    #[track_caller]
    fn pod_sends(&self, wire: &WirePacket, past: bool, expected: &[&str]) {
        self.sends(self.at_pod(&wire.frame()), past, expected);
    }

    #[track_caller]
    fn sends(&self, skb: TestSkb<'_>, past: bool, expected: &[&str]) {
        let (classified, noted) = self.hook(Hook::PodOut, skb);
        let way = if past { TCX_REDIRECT } else { TCX_NEXT };
        let seen = (classified.verdict, classified.mark, noted.as_slice());
        assert_eq!(seen, (way, skb.mark, expected), "{:02x?}", skb.frame);
    }

    /// The stack delivers a packet to the pod.
    #[track_caller]
    fn stack_delivers(&self, wire: &WirePacket, expected: &[&str]) {
        let (classified, noted) = self.hook(Hook::PodIn, self.at_pod(&wire.frame()));
        assert_eq!(
            (classified.verdict, noted.as_slice()),
            (TCX_NEXT, expected),
            "{wire:?}"
        );
    }

    /// The stack sends a packet out by the NIC.
    #[track_caller]
    fn stack_sends(&self, wire: &WirePacket, expected: &[&str]) {
        let (classified, noted) = self.hook(Hook::NicOut, self.at_pod(&wire.frame()));
        assert_eq!(
            (classified.verdict, noted.as_slice()),
            (TCX_NEXT, expected),
            "{wire:?}"
        );
    }

    /// Entries of the tables: established, unreplied, stack.
    fn entries(&self) -> [u64; 3] {
        FlowTable::ALL.map(|table| self.datapath.pinned().flow_count(table).unwrap())
    }

    /// A connection that the pod has accepted.
    #[track_caller]
    fn establish(&self, wire: fn(WireProtocol) -> WirePacket, [opens, answers, follows]: [WireProtocol; 3]) {
        self.arrives(&wire(opens), true, &["Opened"]);
        self.pod_sends(&wire(answers).reply(), true, &["ReplyForwarded"]);
        self.arrives(&wire(follows), true, &["Hit"]);
        self.pod_sends(&wire(follows).reply(), true, &["Established", "ReplyForwarded"]);
    }
}
