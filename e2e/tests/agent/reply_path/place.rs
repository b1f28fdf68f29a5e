//! A node with kube-proxy's rules, a pod with a server, and a client outside that is also a server.

use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::Duration,
};

use xdp_e2e::Agent;
use xdp_lab::{EchoConnection, EchoServer, LabPod, Namespace, Style, UdpClient, UdpReply};

use super::{
    rules::{
        Proxy, {self},
    },
    side::Side,
};
use crate::fixture::{Fixture, PATIENCE, at};

/// The limit until an answer counts as missing.
pub(super) const SOON: Duration = Duration::from_millis(700);
/// Matches everything, so also answers to connections that the pod opened.
pub(super) const ANY: &str = "{name: any, action: Redirect, mark: 42}";

/// Stray packets, few compared with the packets of a test.
pub(super) const FEW: u64 = 40;

pub(super) struct Place {
    /// The pod's servers, by family.
    pub(super) web: [EchoServer; 2],
    _outside: [EchoServer; 2],
    pub(super) pod: LabPod,
    pub(super) fixture: Fixture,
    pub(super) sides: [Side; 2],
    pub(super) style: Style,
    pub(super) masquerade: bool,
}

impl Place {
    pub(super) fn new(style: Style, masquerade: bool) -> Self {
        Self::with(Proxy::Iptables, style, masquerade)
    }

    pub(super) fn with(proxy: Proxy, style: Style, masquerade: bool) -> Self {
        let fixture = Fixture::new();
        let pod = fixture.pod("server", "game", style, 5);
        let nic = &fixture.nic;
        let side = |pod, client, node| Side { pod, client, node };
        let sides = [
            side(pod.v4(), nic.client_v4, nic.v4),
            side(pod.v6(), nic.client_v6, nic.v6),
        ];
        rules::apply(fixture.lab.node(), proxy, masquerade, style, &sides);
        let start = |at: &Namespace, address| EchoServer::start(at, address).unwrap();
        Self {
            web: sides.map(|side| start(&pod.ns, side.web())),
            _outside: sides.map(|side| start(&fixture.client, side.outside())),
            pod,
            fixture,
            sides,
            style,
            masquerade,
        }
    }

    /// Writes the policy that redirects everything.
    pub(super) fn take_all(&self) {
        self.fixture.policy("all", &[ANY]);
    }

    /// Starts an agent, with the policy that redirects everything programmed.
    pub(super) fn start(&self) -> Agent<'_> {
        self.take_all();
        self.fixture.start(&["server"])
    }

    pub(super) fn node(&self) -> &Namespace {
        self.fixture.lab.node()
    }

    /// Opens a connection from outside.
    #[track_caller]
    pub(super) fn connect(&self, from: SocketAddr, to: SocketAddr) -> EchoConnection {
        open(&self.fixture.client, from, to)
    }

    /// Sends bytes from the pod to this client, without a request.
    #[track_caller]
    pub(super) fn pod_sends(&self, connection: &mut EchoConnection, client: IpAddr, bytes: usize) {
        let web = &self.web[usize::from(client.is_ipv6())];
        let client = at(client, connection.local().unwrap().port());
        // More than the sockets' buffers hold.
        thread::scope(|scope| {
            let sender = scope.spawn(|| web.push(client, bytes));
            let received = connection.receive(bytes);
            assert!(received.is_ok(), "{received:?}");
            sender.join().unwrap().unwrap();
        });
    }

    /// Sends one request datagram from outside.
    #[track_caller]
    pub(super) fn request(&self, from: SocketAddr, to: SocketAddr) -> UdpReply {
        request(&mut udp(&self.fixture.client, from), to, 100, 100)
    }

    /// Runs `work`, and returns how many packets the stack has forwarded and dropped as INVALID meanwhile.
    pub(super) fn stack_did(&self, work: impl FnOnce()) -> Did {
        let before = self.counts();
        work();
        let after = self.counts();
        Did {
            forwarded: after.forwarded - before.forwarded,
            invalid: after.invalid - before.invalid,
        }
    }

    fn counts(&self) -> Did {
        Did {
            forwarded: self.node().forwarded().unwrap(),
            invalid: rules::invalid(self.node()),
        }
    }

    /// Checks that the packets bypass the stack, except a few late packets of connections that the stack
    /// handles.
    #[track_caller]
    pub(super) fn is_fast_except_late_packets(&self, what: &str, work: impl FnOnce()) {
        let did = self.stack_did(work);
        assert!(did.forwarded < FEW && did.invalid == 0, "{what}: {did:?}");
    }

    /// Checks that all packets bypass the stack.
    #[track_caller]
    pub(super) fn is_fast(&self, what: &str, work: impl FnOnce()) {
        assert_eq!(self.stack_did(work), Did::default(), "{what}");
    }
}

/// Packets that the stack has processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Did {
    pub(super) forwarded: u64,
    pub(super) invalid: u64,
}

#[track_caller]
pub(super) fn open(namespace: &Namespace, from: SocketAddr, to: SocketAddr) -> EchoConnection {
    let connection = EchoConnection::open(namespace, from, to, PATIENCE).unwrap();
    connection.unwrap_or_else(|error| panic!("{from} to {to}: {error}"))
}

pub(super) fn udp(namespace: &Namespace, from: SocketAddr) -> UdpClient {
    UdpClient::bind(namespace, from, PATIENCE).unwrap()
}

/// Sends a request datagram, and checks source and length of the reply.
#[track_caller]
pub(super) fn request(client: &mut UdpClient, to: SocketAddr, request: usize, reply: usize) -> UdpReply {
    let answer = client.request(to, request, reply);
    let answer =
        answer.unwrap_or_else(|error| panic!("{to} does not answer {request} by {reply} bytes: {error}"));
    assert_eq!(answer.from, to, "{request} by {reply} bytes");
    assert_eq!(answer.length, reply);
    answer
}
