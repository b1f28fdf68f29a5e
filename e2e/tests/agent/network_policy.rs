//! `NetworkPolicies` restrict redirects: what they do not certainly allow passes to the stack.
//!
//! Nothing in the lab enforces them, so packets that pass arrive without a mark.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream},
};

use xdp_e2e::{Agent, Status};
use xdp_lab::{LabPod, Namespace, NicSpec, Style, UdpReceiver, UdpSender, wait_until};

use crate::fixture::{Fixture, PATIENCE, all_arrive, at, expect_only};

const UDP: &str = "{name: players, ports: [{protocol: UDP, port: 7777}], action: Redirect, mark: 42}";
const TCP: &str = "{name: web, ports: [{protocol: TCP, port: 80}], action: Redirect, mark: 43}";
const DROP: &str = "{name: secret, ports: [{protocol: UDP, port: 9999}], action: Drop}";
const IGNORE: &str = "podSelector: {matchLabels: {app: game}}\nnetworkPolicy: Ignore";

/// Two clients on NICs of their own, and a pod.
struct Restricted {
    fixture: Fixture,
    other: Namespace,
    pod: LabPod,
}

impl Restricted {
    fn new() -> Self {
        let fixture = Fixture::new();
        let other = fixture.lab.namespace("other").unwrap();
        fixture.lab.nic(NicSpec::new("nic1", &other)).unwrap();
        let pod = fixture.pod("server", "game", Style::Ptp, 5);
        fixture.policy("players", &[UDP, TCP, DROP]);
        Self { fixture, other, pod }
    }

    fn start(&self, arguments: &[&str]) -> Agent<'_> {
        let mut agent = Agent::new(&self.fixture.lab, &self.fixture.manifests)
            .nics(&["nic0", "nic1"])
            .arguments(arguments);
        agent.start().unwrap();
        agent.wait_for("the NICs are attached and the pod is ready", |status| {
            let attached = |nic| status.nic_mode(nic) == Some("Native");
            status.running() && attached("nic0") && attached("nic1") && status.ready("server")
        });
        agent
    }

    fn network_policy(&self, ingress: &str) {
        let text = format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{namespace: games, name: only}}\nspec: \
             {{podSelector: {{}}, policyTypes: [Ingress], ingress: {ingress}}}\n"
        );
        self.fixture
            .manifests
            .write("network-policy.yaml", &text)
            .unwrap();
    }

    /// Allows the first client, by both of its addresses, everything.
    fn allow_first(&self) {
        let nic = &self.fixture.nic;
        self.network_policy(&format!(
            "[{{from: [{{ipBlock: {{cidr: {}/32}}}}, {{ipBlock: {{cidr: '{}/128'}}}}]}}]",
            nic.client_v4, nic.client_v6
        ));
    }

    /// Waits until datagrams of a client arrive with this mark.
    fn wait_for_mark(&self, client: &Namespace, mark: u32) {
        for ip in self.pod.addresses() {
            let inbox = UdpReceiver::bind(&self.pod.ns, at(ip, 7777)).unwrap();
            wait_until("datagrams have the mark", PATIENCE, || {
                inbox.reset();
                let mut sender = UdpSender::new(client, at(ip, 7777)).unwrap();
                all_arrive(&mut sender, &inbox, 3, 3);
                inbox.received().marks.keys().eq([&mark])
            })
            .unwrap();
        }
    }

    /// Sends 20 datagrams to each address of the pod. All arrive with this mark.
    fn datagrams(&self, client: &Namespace, mark: u32) {
        for ip in self.pod.addresses() {
            let inbox = UdpReceiver::bind(&self.pod.ns, at(ip, 7777)).unwrap();
            let mut sender = UdpSender::new(client, at(ip, 7777)).unwrap();
            all_arrive(&mut sender, &inbox, 20, 20);
            let received = inbox.received();
            assert!(
                received.marks.iter().eq([(&mark, &20)]),
                "{ip}: {:?}",
                received.marks
            );
        }
    }
}

/// A connection from a client to port 80 of the pod.
struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    fn new(pod: &LabPod, client: &Namespace, ip: IpAddr) -> Self {
        let to = at(ip, 80);
        let listener = pod.ns.run(|| TcpListener::bind(to)).unwrap().unwrap();
        let connect = || TcpStream::connect_timeout(&to, PATIENCE);
        let client = client.run(connect).unwrap().unwrap();
        let (server, _) = listener.accept().unwrap();
        Self { client, server }
    }

    fn talk(&mut self) {
        let Self { client, server } = self;
        for stream in [&*client, &*server] {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let mut received = [0; 4];
        client.write_all(b"ping").unwrap();
        server.read_exact(&mut received).unwrap();
        server.write_all(b"pong").unwrap();
        client.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"pong");
    }
}

fn restricted(status: &Status) -> u64 {
    status.happened("fallbacks", "NetworkPolicy")
}

#[test]
fn what_a_block_allows_is_redirected_and_other_sources_pass() {
    let test = Restricted::new();
    test.allow_first();
    let agent = test.start(&[]);
    let before = agent.look();
    test.datagrams(&test.fixture.client, 42);
    test.datagrams(&test.other, 0);
    let counted =
        |status: &Status, field| status.packets("players", field) - before.packets("players", field);
    let status = agent.wait_for("both clients are counted", |status| {
        counted(status, "fellBack") == 40
    });
    assert_eq!(counted(&status, "redirected"), 40);
    assert_eq!(restricted(&status) - restricted(&before), 40);

    let connect = |client: &Namespace| {
        let connections = test.pod.addresses().map(|ip| {
            let mut connection = Connection::new(&test.pod, client, ip);
            connection.talk();
            connection
        });
        connections.collect::<Vec<_>>()
    };
    let _first = connect(&test.fixture.client);
    let first = agent.wait_for("both connections are tracked", |status| {
        status.flows("established") == 2 && status.packets("web", "fellBack") == 0
    });
    let _second = connect(&test.other);
    let passed = |status: &Status| status.packets("web", "fellBack") >= 8;
    let status = agent.wait_for("the connections of the other client pass", passed);
    for table in ["established", "unreplied"] {
        assert_eq!(status.flows(table), first.flows(table), "{table}");
    }
}

#[test]
fn a_policy_that_denies_all_redirects_nothing_and_its_removal_redirects_again() {
    let test = Restricted::new();
    let agent = test.start(&[]);
    test.datagrams(&test.fixture.client, 42);
    test.network_policy("[]");
    test.wait_for_mark(&test.fixture.client, 0);
    let before = agent.look();
    test.datagrams(&test.fixture.client, 0);
    let mut dropped = UdpSender::new(&test.fixture.client, at(test.pod.v4(), 9999)).unwrap();
    dropped.send(10).unwrap();
    expect_only(&agent, "secret", &[("dropped", 10)]);
    let status = agent.wait_for("all have fallen back", |status| {
        status.packets("players", "fellBack") == before.packets("players", "fellBack") + 40
    });
    assert_eq!(
        status.packets("players", "redirected"),
        before.packets("players", "redirected")
    );
    test.fixture.manifests.remove("network-policy.yaml").unwrap();
    test.wait_for_mark(&test.fixture.client, 42);
}

#[test]
fn a_restart_keeps_what_is_restricted() {
    let test = Restricted::new();
    test.network_policy("[]");
    let mut agent = test.start(&[]);
    test.datagrams(&test.fixture.client, 0);
    agent.stop().unwrap();
    test.datagrams(&test.fixture.client, 0);
    agent.start().unwrap();
    agent.wait_for("the agent runs", |status| {
        status.running() && status.ready("server")
    });
    test.datagrams(&test.fixture.client, 0);
}

#[test]
fn a_policy_ignores_them_only_with_the_administrators_consent() {
    let test = Restricted::new();
    test.network_policy("[]");
    let rules = [UDP, TCP, DROP];
    test.fixture.policy_with("players", IGNORE, &rules);
    let mut agent = test.start(&[]);
    test.datagrams(&test.fixture.client, 0);
    agent.stop().unwrap();
    drop(agent);
    let _agent = test.start(&["--allow-ignore-network-policy"]);
    test.wait_for_mark(&test.fixture.client, 42);
}

#[test]
fn a_stricter_policy_binds_an_established_connection_at_its_next_packet() {
    let test = Restricted::new();
    let agent = test.start(&[]);
    let mut connection = Connection::new(&test.pod, &test.fixture.client, test.pod.v4());
    connection.talk();
    agent.wait_for("the flow is tracked", |status| status.flows("established") == 1);
    test.network_policy("[]");
    test.wait_for_mark(&test.fixture.client, 0);
    let before = agent.look();
    connection.talk();
    let status = agent.wait_for("packets of the connection pass", |status| {
        status.packets("web", "fellBack") > before.packets("web", "fellBack")
    });
    assert_eq!(
        status.packets("web", "redirected"),
        before.packets("web", "redirected")
    );
}

#[test]
fn an_unknown_kind_to_ignore_ends_the_start_with_the_known_ones() {
    let test = Restricted::new();
    let mut agent = Agent::new(&test.fixture.lab, &test.fixture.manifests)
        .nics(&["nic0"])
        .arguments(&[
            "--ignored-network-policy-kinds",
            "CiliumNetworkPolicy.cilium.io,Foo.example",
        ]);
    let _ = agent.start();
    let (code, log) = agent.wait_for_end().unwrap();
    assert_ne!(code, Some(0));
    assert!(log.contains("`Foo.example` is not a kind"), "{log}");
    assert!(
        log.contains("`GlobalNetworkPolicy.crd.projectcalico.org`"),
        "{log}"
    );
}
