//! With an engine that enforces NetworkPolicies: the same clients reach the same pods with Redirect and
//! without.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::ensure;
use serde_json::{Value, json};
use xdp_e2e::installed::{ClusterPod, ClusterPodSpec, Engine, Installation, Space, http_get_within};
use xdp_lab::UdpSender;

use super::block;

const EVERYTHING: &str =
    "{name: everything, ports: [{protocol: UDP}, {protocol: TCP}], action: Redirect, mark: 42}";
/// Datagrams of one look.
const PACKETS: u64 = 5;
/// A connection that is refused or gets no answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who reaches the server: each client, by UDP and by TCP.
type Table = BTreeMap<&'static str, [bool; 2]>;

/// A server and its clients. All but the one that is on the server's node reach it by a NIC.
struct Site<'a> {
    installed: &'a Installation,
    space: Space<'a>,
    others: Space<'a>,
    server: ClusterPod<'a>,
    clients: Vec<(&'static str, ClusterPod<'a>)>,
}

/// A policy, and who may reach the server.
struct Case {
    name: &'static str,
    /// `spec.ingress`; `None`: there is no policy.
    ingress: Option<Value>,
    allowed: Table,
}

const CLIENTS: [&str; 5] = ["friend", "stranger", "neighbour", "other", "outside"];
const BOTH: [bool; 2] = [true, true];
const UDP: [bool; 2] = [true, false];
const TCP: [bool; 2] = [false, true];

/// Returns a table in which these clients reach the server, and no other one does.
fn only(allowed: &[(&'static str, [bool; 2])]) -> Table {
    let by_name: BTreeMap<_, _> = allowed.iter().copied().collect();
    let reaches = |client| by_name.get(client).copied().unwrap_or_default();
    CLIENTS
        .into_iter()
        .map(|client| (client, reaches(client)))
        .collect()
}

impl<'a> Site<'a> {
    fn new(installed: &'a Installation) -> Self {
        let space = installed.space("np-engine").unwrap();
        let others = installed.space("np-engine-others").unwrap();
        installed
            .kubectl(&["label", "namespace", &others.name, "team=red"])
            .unwrap();
        let own = [
            ClusterPodSpec::new("server", "server", 1),
            ClusterPodSpec::new("friend", "client", 2).label("role", "friend"),
            ClusterPodSpec::new("stranger", "client", 2),
            ClusterPodSpec::new("neighbour", "client", 1).label("role", "friend"),
        ];
        let [server, friend, stranger, neighbour] = space.pods(&own).unwrap().try_into().unwrap();
        let spec = ClusterPodSpec::new("other", "client", 2).label("role", "friend");
        let other = others.pod(&spec).unwrap();
        let clients = vec![
            ("friend", friend),
            ("stranger", stranger),
            ("neighbour", neighbour),
            ("other", other),
        ];
        Self {
            installed,
            space,
            others,
            server,
            clients,
        }
    }

    fn apply(&self, ingress: Option<&Value>) {
        let Some(ingress) = ingress else {
            self.space.kubectl(&["delete", "networkpolicy", "--all"]).unwrap();
            return;
        };
        let object = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "rules"},
            "spec": {
                "podSelector": {"matchLabels": {"app": "server"}},
                "policyTypes": ["Ingress"],
                "ingress": ingress,
            },
        });
        self.space.apply(&object.to_string()).unwrap();
    }

    /// Tries all clients by IPv4, which the engine enforces.
    fn table(&self) -> anyhow::Result<Table> {
        let address = self.server.v4();
        let (udp, tcp) = (SocketAddr::new(address, 7777), SocketAddr::new(address, 8080));
        let mut table = Table::new();
        for (name, client) in &self.clients {
            let answered = [client.ask_udp(udp)?.is_some(), client.ask_http(tcp)?.is_some()];
            table.insert(name, answered);
        }
        let mut sender = UdpSender::new(self.installed.client(), udp)?;
        // That the port is refused is an error of the next datagram.
        let _ = sender.send_paced(PACKETS, 2000);
        let answered = http_get_within(self.installed.client(), tcp, "/", PATIENCE);
        let arrived = self.server.counts()?.of_stream(sender.stream());
        table.insert("outside", [arrived > 0, answered.is_ok()]);
        Ok(table)
    }

    fn cases(&self) -> Vec<Case> {
        let friends = json!({"podSelector": {"matchLabels": {"role": "friend"}}});
        let red = json!({"namespaceSelector": {"matchLabels": {"team": "red"}}});
        let addresses = self.installed.client_addresses();
        let (v4, v6) = (format!("{}/32", addresses.v4), format!("{}/128", addresses.v6));
        let outside = json!([block(&v4, &[]), block(&v6, &[])]);
        let all_but_outside = json!([block("0.0.0.0/0", &[&v4]), block("::/0", &[&v6])]);
        let pods = [
            ("friend", BOTH),
            ("stranger", BOTH),
            ("neighbour", BOTH),
            ("other", BOTH),
        ];
        let case = |name, ingress, allowed: &[_]| Case {
            name,
            ingress: Some(ingress),
            allowed: only(allowed),
        };
        vec![
            Case {
                name: "no policy",
                ingress: None,
                allowed: CLIENTS.into_iter().map(|client| (client, BOTH)).collect(),
            },
            case("deny all", json!([]), &[]),
            case(
                "by label",
                json!([{"from": [friends]}]),
                &[("friend", BOTH), ("neighbour", BOTH)],
            ),
            case("by namespace", json!([{"from": [red]}]), &[("other", BOTH)]),
            case(
                "outside by block",
                json!([{"from": outside}]),
                &[("outside", BOTH)],
            ),
            case("all but one by block", json!([{"from": all_but_outside}]), &pods),
            case(
                "a named port",
                json!([{"from": [friends], "ports": [{"port": "http"}]}]),
                &[("friend", TCP), ("neighbour", TCP)],
            ),
            case(
                "a range of ports",
                json!([{"ports": [{"protocol": "UDP", "port": 7000, "endPort": 8000}]}]),
                &CLIENTS.map(|client| (client, UDP)),
            ),
            case("allow all", json!([{}]), &CLIENTS.map(|client| (client, BOTH))),
        ]
    }

    /// Waits until each policy has the expected effect, and then changes labels.
    fn check_all(&self) {
        for case in self.cases() {
            self.apply(case.ingress.as_ref());
            self.expect(case.name, &case.allowed);
        }
        let friends = json!([{"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}]);
        self.apply(Some(&friends));
        self.space
            .kubectl(&["label", "--overwrite", "pod", "friend", "role=no"])
            .unwrap();
        self.space
            .kubectl(&["label", "pod", "stranger", "role=friend"])
            .unwrap();
        self.expect(
            "labels changed",
            &only(&[("stranger", BOTH), ("neighbour", BOTH)]),
        );
        self.space
            .kubectl(&["label", "--overwrite", "pod", "friend", "role=friend"])
            .unwrap();
        self.space
            .kubectl(&["label", "pod", "stranger", "role-"])
            .unwrap();
        self.expect(
            "labels as before",
            &only(&[("friend", BOTH), ("neighbour", BOTH)]),
        );
        let red = json!([{"from": [{"namespaceSelector": {"matchLabels": {"team": "blue"}}}]}]);
        self.apply(Some(&red));
        self.expect("no such namespace", &only(&[]));
        let label = |value: &str| {
            let call = ["label", "--overwrite", "namespace", &self.others.name, value];
            self.installed.kubectl(&call).unwrap();
        };
        label("team=blue");
        self.expect("the namespace has the label", &only(&[("other", BOTH)]));
        label("team=red");
        self.expect("the namespace has lost it", &only(&[]));
        self.apply(None);
    }

    #[track_caller]
    fn expect(&self, case: &str, allowed: &Table) {
        let found = self.installed.until(format!("{case}: {allowed:?}"), || {
            let found = self.table()?;
            ensure!(found == *allowed, "{found:?}");
            Ok(())
        });
        found.unwrap();
    }

    /// Returns the packets that the rule has redirected on the server's node.
    fn redirected(&self) -> u64 {
        let metrics = self.installed.agent_metrics(self.server.node).unwrap();
        let rule = ("everything", "everything");
        metrics
            .rule_packets(&self.space.name, rule, "redirected")
            .unwrap_or(0)
    }
}

#[test]
fn with_an_engine_the_same_clients_reach_a_pod_with_redirects_and_without() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let site = Site::new(installed);
    let _engine = Engine::start(installed).unwrap();
    site.check_all();

    for space in [&site.space, &site.others] {
        space
            .policy_with("everything", "podSelector: {}", &[EVERYTHING])
            .unwrap();
    }
    site.space.until_programmed("everything", 4).unwrap();
    site.check_all();
    let redirected = site.redirected();
    println!("{redirected} packets were redirected");
    assert!(redirected > 0);
}
