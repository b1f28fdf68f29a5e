//! What the packets to one pod do to the flows of another.

use std::collections::{BTreeMap, BTreeSet};

use rstest::rstest;
use xdp_agent::datapath::{FlowTable, Settings};
use xdp_core::{
    tables::{Address, FlowValue, MIN_FLOWS},
    testing::wire::{ACK, SYN, WirePacket, WireProtocol},
};
use xdp_plan::{desired::Desired, hook::Hook};

use super::{Node, POD, REDIRECT, TCX_REDIRECT};
use crate::{
    entries::{Table, maps},
    judge::XDP_REDIRECT,
    node::{desired, pod, policy},
};

const ATTACKER: &str = "server-1";
/// Connections of the victim.
const LIVE: u16 = 100;
/// Forged packets, and connections of the attacker's.
const FORGED: u16 = 3000;

/// The last byte of a pod's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Victim = 2,
    Attacker = 3,
}

/// The pods of both.
fn wanted() -> Desired {
    let mut desired = desired(
        &(pod(POD, &["10.0.0.2", "2001:db8::2"])
            + &policy("players", POD, &[REDIRECT])
            + &pod(ATTACKER, &["10.0.0.3", "2001:db8::3"])
            + &policy("others", ATTACKER, &[REDIRECT])),
    );
    desired.pods[1].identity.mac = [4; 6];
    desired
}

fn is_v6(frame: &[u8]) -> bool {
    frame[12] == 0x86
}

/// A node with small tables and both pods.
struct Shared(Node);

impl Shared {
    fn new() -> Self {
        let settings = Settings {
            flows: MIN_FLOWS,
            ..Settings::default()
        };
        let mut node = Node::open(settings);
        for route in ["10.0.0.3/32", "2001:db8::3/128"] {
            node.fixture.host.ip(&format!("route add {route} dev host0"));
        }
        node.install(&wanted());
        let mut shared = Self(node);
        shared.sweep();
        shared
    }

    /// What the agent does every two seconds.
    fn sweep(&mut self) -> u64 {
        let datapath = &mut self.0.datapath;
        let slots: BTreeSet<u32> = datapath.installed().unwrap().pods.into_keys().collect();
        assert_eq!(slots.len(), 2);
        datapath.sweep_flows(&slots).unwrap()
    }

    /// A packet to a pod arrives. Returns whether it was redirected.
    fn arrives(&self, to: To, wire: &WirePacket) -> bool {
        let mut frame = wire.frame();
        let last = if is_v6(&frame) { 14 + 24 + 15 } else { 14 + 16 + 3 };
        frame[last] = to as u8;
        self.0.datapath.test_run(&frame).unwrap().action == XDP_REDIRECT
    }

    /// A pod sends a packet. Returns whether it left past the stack.
    fn sends(&self, from: To, wire: &WirePacket) -> bool {
        let mut frame = wire.reply().frame();
        let last = if is_v6(&frame) { 14 + 8 + 15 } else { 14 + 12 + 3 };
        frame[last] = from as u8;
        let skb = self.0.at_pod(&frame);
        let run = || self.0.datapath.test_run_hook(Hook::PodOut, skb).unwrap();
        self.0.fixture.host.run(run).verdict == TCX_REDIRECT
    }

    /// Opens a connection. Returns whether all of its packets went past the stack.
    fn connect(&self, to: To, v6: bool, port: u16) -> bool {
        let tcp = |flags| WirePacket::new(v6, WireProtocol::Tcp(flags)).with_port(port);
        self.arrives(to, &tcp(SYN))
            && self.sends(to, &tcp(SYN | ACK))
            && self.arrives(to, &tcp(ACK))
            && self.sends(to, &tcp(ACK))
    }

    /// Counts the flows of a pod in a table, by protocol.
    fn held(&self, to: To, table: FlowTable) -> BTreeMap<u32, usize> {
        let addresses = [
            Address::v4([10, 0, 0, to as u8]),
            Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, to as u8]),
        ];
        let mut held = BTreeMap::new();
        for batch in self.0.datapath.pinned().flows(table).unwrap() {
            for entry in batch.unwrap() {
                if addresses.contains(&entry.key.pod) {
                    *held.entry(entry.key.protocol).or_default() += 1;
                }
            }
        }
        held
    }

    fn established(&self, to: To, protocol: u32) -> usize {
        let held = self.held(to, FlowTable::Established);
        held.get(&protocol).copied().unwrap_or(0)
    }

    /// How many packets passed because their pod had opened too many flows.
    fn over_limit(&self) -> u64 {
        let events = self.0.datapath.pinned().events().unwrap();
        let code = xdp_core::events::Fallback::FlowLimit.code();
        events.get(&code).map_or(0, |count| count.packets)
    }

    #[track_caller]
    fn all_go_on(&self, v6: bool) {
        assert_eq!(self.established(To::Victim, 6), usize::from(LIVE));
        for port in 1..=LIVE {
            let data = WirePacket::new(v6, WireProtocol::Tcp(ACK)).with_port(port);
            assert!(self.arrives(To::Victim, &data), "{port}");
            assert!(self.sends(To::Victim, &data), "{port}");
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Attack {
    /// Datagrams with forged sources, which the pod answers.
    Datagrams(WireProtocol),
    /// Datagrams with forged sources, which the pod answers, and one more from each source after that.
    Confirmed(WireProtocol),
    /// SYNs with forged sources, which the pod answers.
    Openings,
    /// Whole connections.
    Connections,
}

impl Attack {
    fn run(self, node: &Shared, v6: bool, port: u16) {
        match self {
            Self::Datagrams(protocol) | Self::Confirmed(protocol) => {
                let datagram = WirePacket::new(v6, protocol).with_port(port);
                if node.arrives(To::Attacker, &datagram) {
                    assert!(node.sends(To::Attacker, &datagram));
                    if matches!(self, Self::Confirmed(_)) {
                        assert!(node.arrives(To::Attacker, &datagram));
                    }
                }
            }
            Self::Openings => {
                let opening = WirePacket::new(v6, WireProtocol::Tcp(SYN)).with_port(port);
                let answer = WirePacket::new(v6, WireProtocol::Tcp(SYN | ACK)).with_port(port);
                if node.arrives(To::Attacker, &opening) {
                    assert!(node.sends(To::Attacker, &answer));
                }
            }
            Self::Connections => {
                node.connect(To::Attacker, v6, port);
            }
        }
    }
}

#[rstest]
fn whatever_comes_to_one_pod_ends_no_connection_of_another(
    #[values(false, true)] v6: bool,
    #[values(
        Attack::Datagrams(WireProtocol::Udp),
        Attack::Confirmed(WireProtocol::Udp),
        Attack::Confirmed(WireProtocol::Echo),
        Attack::Openings,
        Attack::Connections
    )]
    attack: Attack,
) {
    let mut node = Shared::new();
    for port in 1..=LIVE {
        assert!(node.connect(To::Victim, v6, port), "{port}");
    }
    node.all_go_on(v6);
    for port in 1..=FORGED {
        attack.run(&node, v6, 1000 + port);
        if port % 500 == 0 {
            assert_eq!(node.sweep(), 0, "nothing is idle");
        }
        if port == FORGED / 2 {
            node.0.restart();
        }
    }
    node.all_go_on(v6);
    assert!(node.connect(To::Victim, v6, LIVE + 1), "there is room for more");
    if matches!(attack, Attack::Datagrams(_)) {
        assert_eq!(node.held(To::Attacker, FlowTable::Established), BTreeMap::new());
    }
}

#[rstest]
fn datagrams_of_a_pod_take_no_room_from_its_connections(#[values(false, true)] v6: bool) {
    let mut node = Shared::new();
    for port in 1..=50 {
        assert!(node.connect(To::Attacker, v6, port));
    }
    for port in 1..=FORGED {
        Attack::Confirmed(WireProtocol::Udp).run(&node, v6, port);
        if port % 500 == 0 {
            node.sweep();
        }
    }
    assert_eq!(node.established(To::Attacker, 6), 50);
    assert!(node.connect(To::Attacker, v6, 51));
    assert_eq!(node.established(To::Attacker, 6), 51);
    assert!(node.established(To::Attacker, 17) > 100);
}

#[rstest]
fn what_a_pod_opens_beyond_its_limit_passes_and_pushes_nothing_out(#[values(false, true)] v6: bool) {
    let node = Shared::new();
    let opening = |port| WirePacket::new(v6, WireProtocol::Tcp(SYN)).with_port(port);
    for port in 1..=10 {
        assert!(node.arrives(To::Victim, &opening(port)));
    }
    let taken = (1..=FORGED).filter(|port| node.arrives(To::Attacker, &opening(1000 + port)));
    let taken = taken.count() as u64;
    assert!(
        taken >= 1 && node.over_limit() == u64::from(FORGED) - taken,
        "{taken}"
    );
    assert_eq!(
        node.held(To::Victim, FlowTable::Unreplied),
        BTreeMap::from([(6, 10)])
    );
    assert!(node.arrives(To::Victim, &opening(11)), "the victim opens more");
}

#[test]
fn what_is_idle_makes_room_where_it_is_needed_and_what_is_used_stays() {
    let mut node = Shared::new();
    let owners = xdp_plan::owners::Owners::new(&node.0.datapath.installed().unwrap());
    let slot = |to: To| owners.slot(Address::v4([10, 0, 0, to as u8])).unwrap();
    let mut table = Table::open(&maps(&node.0.bpffs), "ESTABLISHED");
    assert!(node.connect(To::Attacker, false, 1999));
    let [FlowValue { state: epoch, .. }] = table.values()[..] else {
        panic!("one flow");
    };
    // Of an agent that wrote no time, of long ago, and of now.
    for (port, state) in (1..=900).zip([0, epoch - 5, epoch].into_iter().cycle()) {
        let flow = FlowValue::new(slot(To::Attacker), state);
        table.add_value(port, [10, 0, 0, To::Attacker as u8], flow);
    }
    for port in 1..=30 {
        let flow = FlowValue::new(slot(To::Victim), 0);
        table.add_value(port, [10, 0, 0, To::Victim as u8], flow);
    }
    node.0.restart();
    let deleted = node.sweep() as usize;
    let gone = 901 - node.established(To::Attacker, 6);
    assert_eq!(gone, deleted);
    assert!((300..=600).contains(&deleted), "{deleted}: those in use are left");
    assert_eq!(node.established(To::Victim, 6), 30, "their room is not needed");
    // A flow that its share has no room for goes on, and the next sweep makes room.
    assert!(node.connect(To::Attacker, false, 2000));
    node.sweep();
    let before = node.established(To::Attacker, 6);
    assert!(node.connect(To::Attacker, false, 2001));
    assert_eq!(node.established(To::Attacker, 6), before + 1);
}
